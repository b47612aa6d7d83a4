import java.time.Duration;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;

/** Sum and number of payments by user and ten minutes, through a repartition topic. */
public final class Stage4 {
    record Payment(String user, double amount, long ts) {}

    record Total(double sum, long count) {
        Total plus(Payment payment) {
            return new Total(sum + payment.amount(), count + 1);
        }
    }

    record Spend(String user, long start, long end, double sum, long count) {}

    private Stage4() {}

    public static void main(String[] args) {
        var builder = new StreamsBuilder();
        // An hour of grace: one task in front may be far ahead of another, and both write to one partition.
        builder.stream(Job.INPUT, Consumed.with(Serdes.String(), Job.json(Payment.class))
                .withTimestampExtractor((record, before) -> ((Payment) record.value()).ts()))
            .groupBy((shop, payment) -> payment.user(),
                Grouped.with("by-user", Serdes.String(), Job.json(Payment.class)))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(10), Duration.ofHours(1)))
            .aggregate(() -> new Total(0, 0), (user, payment, total) -> total.plus(payment),
                Materialized.with(Serdes.String(), Job.json(Total.class)))
            .toStream()
            .map((at, total) -> KeyValue.pair(at.key(), new Spend(
                at.key(), at.window().start(), at.window().end(), total.sum(), total.count())))
            .to(Job.OUTPUT, Produced.with(Serdes.String(), Job.json(Spend.class)));
        Job.run(builder);
    }
}
