import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Buys a video three times over one client, which offers h2c with each request by default. */
class McpCall {
    public static void main(String[] given) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        String body = """
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "luma_generate_video",
             "arguments": {"prompt": "A red fox"}}}""";
        for (int time = 0; time < 3; time++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(given[0]))
                .header("Authorization", given[1])
                .header("Content-Type", "application/json")
                .header("Accept", "application/json, text/event-stream")
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
            HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.version() + " " + response.body());
        }
    }
}
