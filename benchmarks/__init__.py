"""What the processor costs, next to its peers on the same broker: docs/performance.md."""
