import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.DynamicMessage;
import com.google.protobuf.util.JsonFormat;
import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import io.apicurio.registry.serde.avro.AvroKafkaSerializer;
import io.apicurio.registry.serde.jsonschema.JsonSchemaKafkaDeserializer;
import io.apicurio.registry.serde.jsonschema.JsonSchemaKafkaSerializer;
import io.apicurio.registry.serde.protobuf.ProtobufKafkaSerializer;
import io.apicurio.registry.utils.protobuf.schema.FileDescriptorUtils;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.io.JsonEncoder;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Records of a registry's schemas in Java: {@code Serdes.java write-FORMAT|read-FORMAT SERVERS TOPIC
 * REGISTRY SCHEMA}.
 *
 * <p>Rows go in and out as lines of JSON. Avro and JSON are written and read by Apicurio's serdes in
 * Confluent's form. Apicurio's serde for Protobuf has a form of its own, so Confluent's is made here
 * by hand: a 0, four bytes of the number, a 0 for the first message of the file, and the message.
 */
public final class Serdes {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final HttpClient HTTP = HttpClient.newHttpClient();

  private interface Read<T> {
    T from(String line) throws Exception;
  }

  private interface Tell<T> {
    String of(T value) throws Exception;
  }

  public static void main(String[] args) throws Exception {
    String servers = args[1];
    String topic = args[2];
    String url = args[3];
    Path schema = Path.of(args[4]);
    switch (args[0]) {
      case "write-avro" -> {
        Schema known = new Schema.Parser().parse(schema.toFile());
        write(servers, topic, configured(new AvroKafkaSerializer<GenericRecord>(), url),
            line -> new GenericDatumReader<GenericRecord>(known)
                .read(null, DecoderFactory.get().jsonDecoder(known, line)));
      }
      case "read-avro" ->
          read(servers, topic, configured(new AvroKafkaDeserializer<GenericRecord>(), url),
              Serdes::avro);
      case "write-json" ->
          write(servers, topic, configured(new JsonSchemaKafkaSerializer<JsonNode>(), url),
              JSON::readTree);
      case "read-json" ->
          read(servers, topic, configured(new JsonSchemaKafkaDeserializer<JsonNode>(), url),
              JsonNode::toString);
      case "write-protobuf" -> {
        Descriptor message = message(schema);
        int number = registered(url, topic, message.getFile());
        write(servers, topic, new ByteArraySerializer(), line -> framed(number, message, line));
      }
      case "read-protobuf" -> {
        Descriptor message = message(schema);
        read(servers, topic, new ByteArrayDeserializer(), value -> message(url, message, value));
      }
      case "write-apicurio-protobuf" -> {
        Descriptor message = message(schema);
        write(servers, topic, configured(new ProtobufKafkaSerializer<DynamicMessage>(), url),
            line -> made(message, line));
      }
      default -> throw new IllegalArgumentException(args[0]);
    }
  }

  /** In Confluent's form, and with the numbers that its clients are told. */
  private static Map<String, Object> settings(String url) {
    Map<String, Object> made = new HashMap<>();
    made.put("apicurio.registry.url", url.replaceFirst("/ccompat/.*", "/registry/v2"));
    made.put("apicurio.registry.as-confluent", true);
    made.put("apicurio.registry.headers.enabled", false);
    made.put("apicurio.registry.use-id", "contentId");
    made.put("apicurio.registry.auto-register", true);
    made.put("apicurio.registry.deserializer.value.return-class", JsonNode.class.getName());
    return made;
  }

  private static <T> Serializer<T> configured(Serializer<T> serializer, String url) {
    Map<String, Object> settings = settings(url);
    if (serializer instanceof JsonSchemaKafkaSerializer) {
      // A row of JSON tells no schema: it is the one that the topic's subject has.
      settings.put("apicurio.registry.auto-register", false);
      settings.put("apicurio.registry.find-latest", true);
    }
    serializer.configure(settings, false);
    return serializer;
  }

  private static <T> Deserializer<T> configured(Deserializer<T> deserializer, String url) {
    Map<String, Object> settings = settings(url);
    if (!(deserializer instanceof JsonSchemaKafkaDeserializer)) {
      settings.remove("apicurio.registry.deserializer.value.return-class");
    }
    deserializer.configure(settings, false);
    return deserializer;
  }

  private static <T> void write(
      String servers, String topic, Serializer<T> serializer, Read<T> row) throws Exception {
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    try (KafkaProducer<String, T> producer =
        new KafkaProducer<>(
            Map.of("bootstrap.servers", servers), new StringSerializer(), serializer)) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        sent.add(producer.send(new ProducerRecord<>(topic, row.from(line))));
      }
    }
    for (Future<RecordMetadata> each : sent) {
      each.get();
    }
  }

  private static <T> void read(
      String servers, String topic, Deserializer<T> deserializer, Tell<T> tell) throws Exception {
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    Map<String, Object> settings =
        Map.of("bootstrap.servers", servers, "isolation.level", "read_committed");
    try (KafkaConsumer<byte[], T> consumer =
        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), deserializer)) {
      List<TopicPartition> partitions = new ArrayList<>();
      consumer
          .partitionsFor(topic)
          .forEach(each -> partitions.add(new TopicPartition(topic, each.partition())));
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      var ends = consumer.endOffsets(partitions);
      while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
        for (ConsumerRecord<byte[], T> each : consumer.poll(Duration.ofMillis(200))) {
          out.println(tell.of(each.value()));
        }
      }
    }
    out.flush();
  }

  private static String avro(GenericRecord record) throws Exception {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    JsonEncoder encoder = EncoderFactory.get().jsonEncoder(record.getSchema(), out);
    new GenericDatumWriter<GenericRecord>(record.getSchema()).write(record, encoder);
    encoder.flush();
    return out.toString(StandardCharsets.UTF_8);
  }

  /** The first message of the last file of a set, whose other files come before it. */
  private static Descriptor message(Path path) throws Exception {
    Map<String, FileDescriptor> known = new HashMap<>();
    FileDescriptor last = null;
    FileDescriptorSet files = FileDescriptorSet.parseFrom(Files.readAllBytes(path));
    for (FileDescriptorProto file : files.getFileList()) {
      FileDescriptor[] imports =
          file.getDependencyList().stream().map(known::get).toArray(FileDescriptor[]::new);
      last = FileDescriptor.buildFrom(file, imports);
      known.put(file.getName(), last);
    }
    return last.getMessageTypes().get(0);
  }

  private static DynamicMessage made(Descriptor message, String line) throws Exception {
    DynamicMessage.Builder builder = DynamicMessage.newBuilder(message);
    JsonFormat.parser().merge(line, builder);
    return builder.build();
  }

  private static byte[] framed(int number, Descriptor message, String line) throws Exception {
    byte[] body = made(message, line).toByteArray();
    return ByteBuffer.allocate(6 + body.length).put((byte) 0).putInt(number).put((byte) 0).put(body)
        .array();
  }

  private static String message(String url, Descriptor message, byte[] value) throws Exception {
    ByteBuffer bytes = ByteBuffer.wrap(value);
    if (bytes.get() != 0) {
      throw new IllegalStateException("no number of a schema");
    }
    URI number = URI.create(url + "/schemas/ids/" + bytes.getInt());
    JsonNode schema = asked(HttpRequest.newBuilder(number));
    if (!schema.path("schemaType").asText().equals("PROTOBUF") || bytes.get() != 0) {
      throw new IllegalStateException("not the first message of a file: " + schema);
    }
    byte[] body = new byte[bytes.remaining()];
    bytes.get(body);
    return JsonFormat.printer().omittingInsignificantWhitespace()
        .print(DynamicMessage.parseFrom(message, body));
  }

  /** The schema as text, as clients in Java register it. */
  private static int registered(String url, String topic, FileDescriptor file) throws Exception {
    String text = FileDescriptorUtils.fileDescriptorToProtoFile(file.toProto()).toSchema();
    String body = JSON.writeValueAsString(Map.of("schemaType", "PROTOBUF", "schema", text));
    HttpRequest.Builder request =
        HttpRequest.newBuilder(URI.create(url + "/subjects/" + topic + "-value/versions"))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body));
    return asked(request).get("id").asInt();
  }

  private static JsonNode asked(HttpRequest.Builder request) throws Exception {
    HttpResponse<String> answer = HTTP.send(request.build(), HttpResponse.BodyHandlers.ofString());
    if (answer.statusCode() != 200) {
      throw new IllegalStateException(answer.statusCode() + " " + answer.body());
    }
    return JSON.readTree(answer.body());
  }
}
