import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;

/** What the stages share: the settings, and JSON of records. */
final class Job {
    static final ObjectMapper MAPPER = new ObjectMapper();
    static final String INPUT = System.getenv("INPUT");
    static final String OTHER = System.getenv("OTHER");
    static final String OUTPUT = System.getenv("OUTPUT");

    private Job() {}

    static <T> Serde<T> json(Class<T> type) {
        return Serdes.serdeFrom(
            (topic, value) -> {
                try {
                    return value == null ? null : MAPPER.writeValueAsBytes(value);
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            },
            (topic, bytes) -> {
                try {
                    return bytes == null ? null : MAPPER.readValue(bytes, type);
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            });
    }

    static void run(StreamsBuilder builder) {
        boolean exactlyOnce = !System.getenv("EXACTLY_ONCE").isEmpty();
        // The commit interval of at-least-once is 30 s by default: too few updates for a live topic.
        var settings = new java.util.Properties();
        settings.putAll(Map.of(
            StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("GROUP"),
            StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BOOTSTRAP"),
            StreamsConfig.STATE_DIR_CONFIG, System.getenv("STATE"),
            StreamsConfig.NUM_STREAM_THREADS_CONFIG, System.getenv("WORKERS"),
            StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, exactlyOnce ? 100 : 1000,
            StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
                exactlyOnce ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE,
            "main.consumer.isolation.level", "read_committed",
            "main.consumer.auto.offset.reset", "earliest"));
        if (!System.getenv("QUICK").isEmpty()) {
            // An update goes on with its record; else it waits in a cache for the commit.
            settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        }
        var streams = new KafkaStreams(builder.build(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }
}
