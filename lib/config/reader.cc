#include "config/reader.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <span>
#include <unordered_map>

#include <fmt/format.h>

#include "base/generated_mark.h"
#include "config/files.h"
#include "config/key.h"
#include "doc/reader.h"
#include "net/sha256.h"

namespace config {
namespace {

constexpr std::array<std::string_view, 5> kClusterWide{"Namespace", "GatewayClass", "IngressClass", "Node", "PersistentVolume"};

bool is_error(const doc::Problem& problem) noexcept { return problem.severity == doc::Problem::Severity::kError; }

bool is_mesh_config(const api::Meta& meta) noexcept { return meta.kind == "ConfigMap" && meta.name_space == "istio-system" && meta.name == "istio"; }

// The same document, or the item of a List, as a document of its own.
std::shared_ptr<const doc::Document> mesh_config_in(const doc::Document& document) {
  const auto fits = [](const doc::Node& node) {
    const doc::Node* kind = node.find("kind");
    const doc::Node* name = node.at_path("metadata.name");
    const doc::Node* space = node.at_path("metadata.namespace");
    return kind && name && space && kind->scalar == "ConfigMap" && name->scalar == "istio" && space->scalar == "istio-system";
  };
  if (fits(document.root)) return std::make_shared<const doc::Document>(document);
  const doc::Node* items = document.root.find("items");
  if (!items || !items->is_list()) return nullptr;
  for (const doc::Node& item : items->list)
    if (fits(item)) return std::make_shared<const doc::Document>(doc::Document{document.file, item, document.begin, document.end});
  return nullptr;
}

std::string value_of(std::string_view text, std::string_view word) {
  constexpr std::string_view kBefore = " \t\r\n{,", kValue = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const bool quoted = at > 0 && text[at - 1] == '"';
    const size_t before = quoted ? at - 1 : at;
    if (before > 0 && kBefore.find(text[before - 1]) == std::string_view::npos) continue;
    std::string_view rest = text.substr(at + word.size());
    if (quoted && rest.starts_with('"')) rest.remove_prefix(1);
    if (!rest.starts_with(':')) continue;
    rest.remove_prefix(std::min(rest.size(), rest.find_first_not_of(" \t", 1)));
    if (rest.starts_with('"') || rest.starts_with('\'')) rest.remove_prefix(1);
    const auto value = rest.substr(0, rest.find_first_not_of(kValue));
    if (!value.empty()) return std::string(value);
  }
  return {};
}

std::string place_of(const api::Resource& resource) { return fmt::format("{}:{}", resource.meta.at.file_name(), resource.meta.at.line); }

using Objects = std::span<const std::shared_ptr<const api::Resource>>;
using Winners = std::unordered_map<Key, const api::Resource*, KeyHash>;

Winners winners_of(Objects objects) {
  Winners winners;
  for (const auto& resource : objects)
    if (!resource->meta.name.empty()) winners[key_of(*resource)] = resource.get();
  return winners;
}

// One warning for each object that another one of the same name hides.
void name_duplicates(Objects objects, const Winners& winners, doc::Problems& problems) {
  for (const auto& resource : objects) {
    const auto winner = winners.find(key_of(*resource));
    if (winner == winners.end() || winner->second == resource.get()) continue;
    problems.push_back({doc::Problem::Severity::kWarning, "DUPLICATE", resource->meta.id(), {},
                        fmt::format("{} has no effect: the same object stands again at {}, and the last one wins", place_of(*resource), place_of(*winner->second)),
                        resource->meta.at});
  }
}

// `sluice up` completes each Service and Pod of the user's and writes it to a root of its own, the last one. That is one line
// for all of them, always the same one, so that it is logged once.
void name_replaced(Objects own, const Winners& generated, const std::string& root, doc::Problems& problems) {
  for (const auto& resource : own) {
    if (!generated.contains(key_of(*resource))) continue;
    problems.push_back({doc::Problem::Severity::kInfo, "DUPLICATE", "-", {},
                        fmt::format("Pods and Services are used as `sluice up` completed them, with addresses and status, in {}", root), {}});
    return;
  }
}

bool is_generated(const std::string& root) {
  std::error_code ignored;
  return std::filesystem::exists(std::filesystem::path(root) / base::kGeneratedMark, ignored);
}

}  // namespace

struct Reader::Parsed {
  std::string bytes;
  std::vector<std::shared_ptr<const api::Resource>> resources;
  doc::Problems problems;
  std::vector<Listing::Broken> broken;
  std::shared_ptr<const doc::Document> mesh_config;
};

std::string_view document_at(std::string_view bytes, int line) noexcept {
  size_t begin = 0;
  int number = 1;
  for (size_t at = 0; at < bytes.size(); ++number) {
    if (bytes.substr(at).starts_with("---") && number > line) return bytes.substr(begin, at - begin);
    if (bytes.substr(at).starts_with("---")) begin = at;
    const size_t end = bytes.find('\n', at);
    if (end == std::string_view::npos) break;
    at = end + 1;
  }
  return bytes.substr(begin);
}

Identity guess_identity(std::string_view text) { return {value_of(text, "kind"), value_of(text, "namespace"), value_of(text, "name")}; }

Reader::Reader(std::vector<std::string> roots) {
  for (auto& root : roots) {
    while (root.size() > 1 && root.ends_with('/')) root.pop_back();
    roots_.push_back({std::move(root), {}, {}});
  }
}

std::shared_ptr<const Reader::Parsed> Reader::parse(const std::string& path, std::string bytes) {
  auto parsed = std::make_shared<Parsed>();
  doc::File file = doc::read(path, bytes);
  for (doc::Problem& problem : file.problems) {
    if (is_error(problem)) {
      const Identity shown = problem.at.line > 0 ? guess_identity(document_at(bytes, problem.at.line)) : Identity{};
      Listing::Broken broken{path, {}};
      if (!shown.kind.empty() && !shown.name.empty()) {
        const bool wide = std::find(kClusterWide.begin(), kClusterWide.end(), shown.kind) != kClusterWide.end();
        broken.object = shown.kind + '/' + (wide ? "" : shown.name_space.empty() ? "default" : shown.name_space) + '/' + shown.name;
        if (problem.object.empty() || problem.object == "-") problem.object = broken.object;
      }
      parsed->broken.push_back(std::move(broken));
    }
    parsed->problems.push_back(std::move(problem));
  }
  for (const doc::Document& document : file.documents) {
    for (auto& resource : api::decode(document)) {
      // Without a name nobody knows which object this was meant to be: whatever this file held before stays.
      if (!resource->valid && (resource->meta.name.empty() || resource->meta.kind.empty())) parsed->broken.push_back({path, {}});
      if (is_mesh_config(resource->meta)) parsed->mesh_config = mesh_config_in(document);
      parsed->resources.push_back(std::move(resource));
    }
  }
  parsed->bytes = std::move(bytes);
  return parsed;
}

// False when the root is not there; its files are then the ones of before.
bool Reader::read_root(Root& root, doc::Problems& problems) {
  Walk found = walk(root.path);
  problems.insert(problems.end(), std::make_move_iterator(found.problems.begin()), std::make_move_iterator(found.problems.end()));
  if (!found.exists) return false;
  std::map<std::string, std::shared_ptr<const Parsed>> files;
  root.unread = std::move(found.unread);
  for (const Found& one : found.files) {
    Content content = read_file(one.real);
    if (content.kind == Content::Kind::kVanished) continue;
    if (content.kind == Content::Kind::kFailed) {
      problems.push_back(file_problem(one.path, "cannot be read: " + content.why));
      root.unread.push_back(one.path);
      continue;
    }
    const auto before = root.files.find(one.path);
    files[one.path] = before != root.files.end() && before->second->bytes == content.bytes ? before->second : parse(one.path, std::move(content.bytes));
  }
  root.files = std::move(files);
  return true;
}

void Reader::add(Listing& listing, const Root& root) {
  for (const std::string& path : root.unread) listing.broken.push_back({path, {}});
  for (const auto& [path, file] : root.files) {
    listing.resources.insert(listing.resources.end(), file->resources.begin(), file->resources.end());
    listing.problems.insert(listing.problems.end(), file->problems.begin(), file->problems.end());
    listing.broken.insert(listing.broken.end(), file->broken.begin(), file->broken.end());
    if (file->mesh_config) listing.mesh_config = file->mesh_config;
  }
}

Listing Reader::read() {
  Listing listing;
  net::Sha256 digest;
  size_t own = 0;                        // objects that stand before the generated roots at the end
  for (Root& root : roots_) {
    if (!read_root(root, listing.problems)) listing.complete = false;
    for (const auto& [path, file] : root.files) {
      digest.add(path);
      digest.add(std::string_view("", 1));
      digest.add(file->bytes);
      digest.add(std::string_view("", 1));
    }
    add(listing, root);
    if (!is_generated(root.path)) own = listing.resources.size();
  }
  const Objects all(listing.resources);
  const Winners users = winners_of(all.first(own)), generated = winners_of(all.subspan(own));
  name_duplicates(all.first(own), users, listing.problems);
  name_duplicates(all.subspan(own), generated, listing.problems);
  name_replaced(all.first(own), generated, roots_.empty() ? "" : roots_.back().path, listing.problems);
  listing.digest = digest.hex();
  return listing;
}

Listing read_roots(const std::vector<std::string>& roots) { return Reader(roots).read(); }

std::string digest_of_roots(const std::vector<std::string>& roots) {
  net::Sha256 digest;
  for (std::string root : roots) {
    while (root.size() > 1 && root.ends_with('/')) root.pop_back();
    for (const Found& one : walk(root).files) {
      const Content content = read_file(one.real);
      if (content.kind != Content::Kind::kRead) continue;
      digest.add(one.path);
      digest.add(std::string_view("", 1));
      digest.add(content.bytes);
      digest.add(std::string_view("", 1));
    }
  }
  return digest.hex();
}

}  // namespace config
