import java.time.Duration;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;

/** Each order with each payment of its user from its own time up to ten minutes later. */
public final class Stage5 {
    record Order(String user, long order, long ts) {}

    record Payment(String user, long payment, double amount, long ts) {}

    record Paid(String user, long order, long ordered, long payment, double amount, long paid) {}

    private Stage5() {}

    public static void main(String[] args) {
        var order = Job.json(Order.class);
        var payment = Job.json(Payment.class);
        var ten = Duration.ofMinutes(10);
        // An hour of grace: one side may be read far ahead of the other, and a task keeps rows by the
        // newest time that it has seen of either.
        var grace = Duration.ofHours(1);
        var builder = new StreamsBuilder();
        var orders = builder.stream(Job.INPUT, Consumed.with(Serdes.String(), order)
            .withTimestampExtractor((record, before) -> ((Order) record.value()).ts()));
        var payments = builder.stream(Job.OTHER, Consumed.with(Serdes.String(), payment)
            .withTimestampExtractor((record, before) -> ((Payment) record.value()).ts()));
        orders.join(payments,
                (left, right) -> new Paid(
                    left.user(), left.order(), left.ts(), right.payment(), right.amount(), right.ts()),
                JoinWindows.ofTimeDifferenceAndGrace(ten, grace).before(Duration.ZERO),
                StreamJoined.with(Serdes.String(), order, payment))
            .to(Job.OUTPUT, Produced.with(Serdes.String(), Job.json(Paid.class)));
        Job.run(builder);
    }
}
