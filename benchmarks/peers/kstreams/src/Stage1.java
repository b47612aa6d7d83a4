import java.io.File;
import java.io.IOException;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;

/** CSV trips to JSON trips with the nearest cluster. */
public final class Stage1 {
    record Centroids(String comment, double[][] centroids) {}

    record Trip(String dt, double lat, double lon, String base, int cluster) {}

    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss");

    private static double[][] centroids;

    private Stage1() {}

    private static int nearest(double lat, double lon) {
        int best = 0;
        double least = Double.MAX_VALUE;
        for (int i = 0; i < centroids.length; i++) {
            double north = lat - centroids[i][0];
            double east = lon - centroids[i][1];
            double square = north * north + east * east;
            if (square < least) {
                least = square;
                best = i;
            }
        }
        return best;
    }

    private static Trip parse(String line) {
        String[] fields = line.split(",", -1);
        if (fields.length != 4 || fields[3].indexOf('\uFFFD') >= 0) {
            return null;
        }
        try {
            LocalDateTime.parse(fields[0], TIME);
            double lat = Double.parseDouble(fields[1]);
            double lon = Double.parseDouble(fields[2]);
            return new Trip(fields[0], lat, lon, fields[3], nearest(lat, lon));
        } catch (DateTimeParseException | NumberFormatException e) {
            return null;
        }
    }

    public static void main(String[] args) throws IOException {
        centroids = Job.MAPPER.readValue(new File(System.getenv("CENTROIDS")), Centroids.class).centroids();
        var builder = new StreamsBuilder();
        builder.stream(Job.INPUT, Consumed.with(Serdes.String(), Serdes.String()))
            .mapValues(Stage1::parse)
            .filter((key, trip) -> trip != null)
            .selectKey((key, trip) -> Integer.toString(trip.cluster()))
            .to(Job.OUTPUT, Produced.with(Serdes.String(), Job.json(Trip.class)));
        Job.run(builder);
    }
}
