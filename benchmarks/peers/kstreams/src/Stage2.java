import java.time.Duration;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/** The number of trips by cluster and hour. */
public final class Stage2 {
    record Trip(String dt, double lat, double lon, String base, int cluster) {}

    record Popular(int cluster, long start, long end, long count) {}

    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss");

    private Stage2() {}

    public static void main(String[] args) {
        // Without a retention of its own a store keeps size and grace, in a segment for every hour:
        // replaying a month then makes and drops segments all the time.
        var store = Materialized.<String, Long, WindowStore<Bytes, byte[]>>with(Serdes.String(), Serdes.Long())
            .withRetention(Duration.ofHours(24));
        var builder = new StreamsBuilder();
        builder.stream(Job.INPUT, Consumed.with(Serdes.String(), Job.json(Trip.class))
                .withTimestampExtractor((record, before) -> LocalDateTime.parse(((Trip) record.value()).dt(), TIME)
                    .toInstant(ZoneOffset.UTC).toEpochMilli()))
            .groupByKey()
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofHours(1), Duration.ofHours(1)))
            .count(store)
            .toStream()
            .map((at, count) -> KeyValue.pair(at.key(),
                new Popular(Integer.parseInt(at.key()), at.window().start(), at.window().end(), count)))
            .to(Job.OUTPUT, Produced.with(Serdes.String(), Job.json(Popular.class)));
        Job.run(builder);
    }
}
