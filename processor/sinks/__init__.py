"""What rows are shown to outside of Kafka: files, functions of the user's, tables in memory."""
