"""Many dead letters are sent again on a real broker, by a process that is killed meanwhile."""
