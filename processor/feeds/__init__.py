"""Sources outside Kafka: folders of files, sockets, rates, queues, and receivers of one's own."""
