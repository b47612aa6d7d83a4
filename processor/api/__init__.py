"""The front door: handles that append nodes to a plan and execute nothing."""
