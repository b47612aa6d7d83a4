"""The schema registry, behind `processor.formats.registry.Schemas`."""
