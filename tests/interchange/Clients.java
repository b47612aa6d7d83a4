import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Kafka's own client for Java, for the tests: {@code Clients.java produce|consume SERVERS TOPIC
 * NAME=VALUE...}.
 *
 * <p>{@code produce} takes records as lines of JSON, and between them {@code {"do": "begin"}},
 * {@code "commit"}, {@code "abort"}, {@code {"do": "compress", "with": "zstd"}}; it answers with the
 * partition of each record. {@code consume} prints all records to the end, their bytes as base64.
 */
public final class Clients {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", args[1]);
    for (int i = 3; i < args.length; i++) {
      String[] parts = args[i].split("=", 2);
      settings.put(parts[0], parts[1]);
    }
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    if (args[0].equals("produce")) {
      produce(settings, args[2], out);
    } else {
      consume(settings, args[2], out);
    }
    out.flush();
  }

  private static void produce(Properties settings, String topic, PrintStream out) throws Exception {
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    KafkaProducer<String, String> producer = started(settings);
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonNode given = JSON.readTree(line);
      switch (given.path("do").asText()) {
        case "begin" -> producer.beginTransaction();
        case "commit" -> producer.commitTransaction();
        case "abort" -> {
          // Sent before, so that there is something on the broker to be aborted.
          producer.flush();
          producer.abortTransaction();
        }
        case "compress" -> {
          producer.close();
          settings.put("compression.type", given.get("with").asText());
          producer = started(settings);
        }
        default -> sent.add(producer.send(record(topic, given)));
      }
    }
    producer.close();
    for (Future<RecordMetadata> each : sent) {
      out.println(each.get().partition());
    }
  }

  private static KafkaProducer<String, String> started(Properties settings) {
    KafkaProducer<String, String> made =
        new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    if (settings.containsKey("transactional.id")) {
      made.initTransactions();
    }
    return made;
  }

  private static ProducerRecord<String, String> record(String topic, JsonNode given)
      throws Exception {
    ProducerRecord<String, String> made =
        new ProducerRecord<>(topic, text(given.get("key")), text(given.get("value")));
    for (JsonNode header : given.path("headers")) {
      JsonNode value = header.get(1);
      made.headers().add(header.get(0).asText(), value.isNull() ? null : value.binaryValue());
    }
    return made;
  }

  private static String text(JsonNode node) {
    return node == null || node.isNull() ? null : node.asText();
  }

  private static void consume(Properties settings, String topic, PrintStream out) {
    try (KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> partitions = new ArrayList<>();
      consumer
          .partitionsFor(topic)
          .forEach(each -> partitions.add(new TopicPartition(topic, each.partition())));
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      // Of committed records, the end is where the first open transaction begins.
      var ends = consumer.endOffsets(partitions);
      while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
        for (ConsumerRecord<byte[], byte[]> each : consumer.poll(Duration.ofMillis(200))) {
          out.println(told(each));
        }
      }
    }
  }

  private static ObjectNode told(ConsumerRecord<byte[], byte[]> record) {
    ObjectNode made = JSON.createObjectNode();
    made.put("partition", record.partition());
    made.put("offset", record.offset());
    made.put("timestamp", record.timestamp());
    made.put("key", record.key());
    made.put("value", record.value());
    ArrayNode headers = made.putArray("headers");
    for (Header header : record.headers()) {
      headers.addArray().add(header.key()).add(header.value());
    }
    return made;
  }
}
