"""What the processor tells about itself: numbers for Prometheus, one line per batch, two probes."""
