#include "runner/demo_pages.h"

#include <array>

#include <fmt/format.h>

#include "doc/reader.h"
#include "doc/writer.h"

namespace runner {
namespace {

std::string text_at(const doc::Node& node, std::string_view path, std::string fallback = "") {
  const doc::Node* found = node.at_path(path);
  return found ? std::string(found->text_or(fallback)) : fallback;
}

doc::Node parsed(const Neighbour* from) {
  if (!from || from->answer.status != 200) return {};
  doc::File file = doc::read_json(from->host, from->answer.body);
  return file.documents.empty() ? doc::Node{} : std::move(file.documents[0].root);
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

const Neighbour* find(const std::vector<Neighbour>& all, std::string_view host) {
  for (const auto& one : all)
    if (one.host == host) return &one;
  return nullptr;
}

AppAnswer json(doc::JsonWriter& out) { return {200, "application/json", out.take() + '\n'}; }

AppAnswer details(const std::string& pod) {
  doc::JsonWriter out;
  out.begin_object().member("id", 0).member("author", "William Shakespeare").member("title", "The Comedy of Errors").member("year", 1595);
  out.member("type", "paperback").member("pages", 200).member("language", "English").member("podname", pod).end_object();
  return json(out);
}

AppAnswer ratings(const std::string& pod) {
  doc::JsonWriter out;
  out.begin_object().member("id", 0).key("ratings").begin_object().member("Reviewer1", 5).member("Reviewer2", 4).end_object();
  out.member("podname", pod).end_object();
  return json(out);
}

// v1 shows no stars, v2 black ones, v3 red ones: so a person sees which version answered.
AppAnswer reviews(const DemoApp& app, const std::string& pod, const std::vector<Neighbour>& neighbours) {
  static constexpr std::array<std::pair<const char*, const char*>, 2> kTexts{
      {{"Reviewer1", "Twins, twice over, and not a dull line in it."}, {"Reviewer2", "Slapstick that has aged better than most of us."}}};
  const doc::Node stars = parsed(find(neighbours, "ratings"));
  doc::JsonWriter out;
  out.begin_object().member("id", "0").member("podname", pod).member("version", app.version).key("reviews").begin_array();
  for (const auto& [reviewer, text] : kTexts) {
    out.begin_object().member("reviewer", reviewer).member("text", text);
    if (app.version != "v1") {
      const std::string count = text_at(stars, std::string("ratings.") + reviewer);
      out.key("rating").begin_object();
      if (count.empty())
        out.member("error", "ratings cannot be had");
      else
        out.member("stars", std::stoi(count)).member("color", app.version == "v3" ? "red" : "black");
      out.end_object();
    }
    out.end_object();
  }
  out.end_array().end_object();
  return json(out);
}

std::string stars_html(const doc::Node& review) {
  const doc::Node* rating = review.find("rating");
  if (!rating) return {};
  const std::string count = text_at(*rating, "stars");
  if (count.empty()) return "<i>no ratings at the moment</i>";
  std::string stars;
  for (int i = 0; i < 5; ++i) stars += i < std::stoi(count) ? "★" : "☆";
  return fmt::format("<span style=\"color:{}\">{}</span>", text_at(*rating, "color", "black"), stars);
}

AppAnswer productpage(const std::string& pod, const AppRequest& request, const std::vector<Neighbour>& neighbours) {
  const Neighbour* from_details = find(neighbours, "details");
  const Neighbour* from_reviews = find(neighbours, "reviews");
  const doc::Node book = parsed(from_details), said = parsed(from_reviews);
  std::string user = request.header("end-user");
  if (user.empty()) user = request.query("u");
  std::string body = fmt::format(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Bookshelf</title></head>\n"
      "<body style=\"font-family:sans-serif;max-width:44em;margin:2em auto\">\n<h1>{}</h1>\n",
      escaped(text_at(book, "title", "A book without details")));
  if (book.is_map())
    body += fmt::format("<p>by {}, {}, {} pages <small>(details: {})</small></p>\n", escaped(text_at(book, "author")),
                        text_at(book, "year"), text_at(book, "pages"), text_at(book, "podname"));
  else
    body += fmt::format("<p>details cannot be had: status {}</p>\n", from_details ? from_details->answer.status : 0);
  if (said.is_map()) {
    body += fmt::format("<h2>Reviews <small>(reviews: {})</small></h2>\n", text_at(said, "podname"));
    if (const doc::Node* list = said.find("reviews"))
      for (const auto& review : list->list)
        body += fmt::format("<p>{} {}<br>— {}</p>\n", stars_html(review), escaped(text_at(review, "text")),
                            escaped(text_at(review, "reviewer")));
  } else {
    body += fmt::format("<p>reviews cannot be had: status {}</p>\n", from_reviews ? from_reviews->answer.status : 0);
  }
  body += fmt::format(
      "<hr><p>{} · <a href=\"/productpage\">as anybody</a> · <a href=\"/productpage?u=jason\">as jason</a> · productpage: "
      "{}</p>\n</body></html>\n",
      user.empty() ? "not signed in" : "signed in as " + escaped(user), pod);
  return {200, "text/html; charset=utf-8", body};
}

AppAnswer echo(const DemoApp& app, const std::string& pod, const AppRequest& request) {
  std::string body = fmt::format(
      "Workload={}\nServiceVersion={}\nServicePort={}\nNamespace={}\nHost={}\nURL={}\nMethod={}\nProto={}\nIP={}\nPort={}\nBodyLength={}\n",
      pod, app.version, request.local_port, app.name_space, request.host, request.url, request.method, request.protocol, request.peer_ip,
      request.peer_port, request.body_length);
  for (const auto& [name, value] : request.headers) body += fmt::format("RequestHeader={}:{}\n", name, value);
  return {200, "text/plain", body + fmt::format("Hostname={}\nStatusCode=200\n", pod)};
}

}  // namespace

std::string AppRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}
std::string AppRequest::path() const { return url.substr(0, url.find('?')); }
std::string AppRequest::query(std::string_view name) const {
  size_t at = url.find('?');
  while (at != std::string::npos) {
    const size_t begin = at + 1, end = url.find('&', begin), equals = url.find('=', begin);
    if (equals != std::string::npos && url.substr(begin, equals - begin) == name)
      return url.substr(equals + 1, end == std::string::npos ? end : end - equals - 1);
    at = end;
  }
  return {};
}

bool is_demo_app(const std::string& name) {
  for (const char* known : {"productpage", "details", "ratings", "reviews", "echo"})
    if (name == known) return true;
  return false;
}

bool is_forwarded(std::string_view name) {
  for (const char* known : {"end-user", "x-request-id", "traceparent", "tracestate", "b3", "user-agent"})
    if (name == known) return true;
  return name.starts_with("x-b3-");
}

std::vector<Neighbour> neighbours_for(const DemoApp& app, const AppRequest& request) {
  if (request.path() == "/whoami" || request.path() == "/health") return {};
  if (app.name == "productpage" && request.path() == "/productpage")
    return {{"details", 9080, "/details/0"}, {"reviews", 9080, "/reviews/0"}};
  if (app.name == "reviews" && app.version != "v1" && request.path().starts_with("/reviews/")) return {{"ratings", 9080, "/ratings/0"}};
  return {};
}

AppAnswer answer_of(const DemoApp& app, const std::string& pod, const AppRequest& request, const std::vector<Neighbour>& neighbours) {
  const std::string path = request.path();
  if (path == "/whoami") return {200, "text/plain", fmt::format("{} {}{}\n", pod, app.name, app.version.empty() ? "" : ' ' + app.version)};
  if (path == "/health") return {200, "text/plain", "ok\n"};
  if (app.name == "echo") return echo(app, pod, request);
  if (app.name == "details" && path.starts_with("/details/")) return details(pod);
  if (app.name == "ratings" && path.starts_with("/ratings/")) return ratings(pod);
  if (app.name == "reviews" && path.starts_with("/reviews/")) return reviews(app, pod, neighbours);
  if (app.name == "productpage" && path == "/productpage") return productpage(pod, request, neighbours);
  if (app.name == "productpage" && path == "/")
    return {200, "text/html; charset=utf-8",
            "<!doctype html><title>Bookshelf</title><p><a href=\"/productpage\">The Comedy of Errors</a></p>\n"};
  return {404, "text/plain", fmt::format("{} has no {}\n", app.name, path)};
}

}  // namespace runner
