#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "config/key.h"
#include "config/pipeline.h"

namespace config {
namespace {

using Resources = std::vector<std::shared_ptr<const api::Resource>>;

bool any_error(const doc::Problems& problems) noexcept {
  return std::any_of(problems.begin(), problems.end(), [](const doc::Problem& p) { return p.severity == doc::Problem::Severity::kError; });
}

// Did this object come from a place that is broken now, and may it be the one that is broken?
bool hidden_by(const std::vector<Listing::Broken>& broken, const api::Meta& meta) {
  const std::string& file = meta.at.file_name();
  return std::any_of(broken.begin(), broken.end(), [&](const Listing::Broken& b) {
    return (b.file.ends_with('/') ? file.starts_with(b.file) : file == b.file) && (b.object.empty() || b.object == meta.id());
  });
}

doc::Problem kept(const api::Meta& meta, const doc::Mark& at) {
  return {doc::Problem::Severity::kWarning, "LAST_GOOD", meta.id(), {},
          fmt::format("its last good version (from {}:{}) stays in force until this is mended", meta.at.file_name(), meta.at.line), at};
}

// The objects of one key in a listing.
struct Same {
  const std::shared_ptr<const api::Resource>* winner = nullptr;       // the last one
  const std::shared_ptr<const api::Resource>* last_valid = nullptr;
};

}  // namespace

Store::View Store::update(Listing listing) {
  View view;
  view.problems = std::move(listing.problems);
  view.digest = std::move(listing.digest);
  view.complete = listing.complete;

  std::unordered_map<Key, Same, KeyHash> now;
  std::vector<Key> order;
  for (const auto& resource : listing.resources) {
    if (resource->meta.name.empty() || resource->meta.kind.empty()) {   // nobody's name: only its problems count
      view.problems.insert(view.problems.end(), resource->problems.begin(), resource->problems.end());
      continue;
    }
    const auto [place, fresh] = now.try_emplace(key_of(*resource));
    if (fresh) order.push_back(place->first);
    place->second.winner = &resource;
    if (resource->valid) place->second.last_valid = &resource;
  }
  std::unordered_map<Key, const std::shared_ptr<const api::Resource>*, KeyHash> before;
  for (const auto& resource : last_good_) before.emplace(key_of(*resource), &resource);

  for (const Key& key : order) {
    const Same& same = now.find(key)->second;
    const api::Resource& winner = **same.winner;
    view.problems.insert(view.problems.end(), winner.problems.begin(), winner.problems.end());
    if (winner.valid) {
      view.good.push_back(*same.winner);
      continue;
    }
    const auto old = before.find(key);
    const auto* instead = old != before.end() ? old->second : same.last_valid;
    if (!instead) continue;
    view.problems.push_back(kept((*instead)->meta, winner.meta.at));
    view.good.push_back(*instead);
  }
  for (const auto& resource : last_good_) {
    if (now.contains(key_of(*resource)) || !hidden_by(listing.broken, resource->meta)) continue;
    view.problems.push_back(kept(resource->meta, {resource->meta.at.file, 0, 0}));
    view.good.push_back(resource);
  }
  update_mesh_config(listing, view);
  last_good_ = view.good;
  return view;
}

// MeshConfig follows the ConfigMap that won, is valid and has no mistake inside its text; otherwise the last good one stays.
void Store::update_mesh_config(const Listing& listing, View& view) {
  const auto is_it = [](const auto& r) { return r->group_kind == "/ConfigMap" && r->meta.name_space == "istio-system" && r->meta.name == "istio"; };
  const bool exists = std::any_of(view.good.begin(), view.good.end(), is_it);
  if (!exists) {
    mesh_config_ = {};
    mesh_document_ = nullptr;
  } else if (listing.mesh_config) {
    doc::Problems found;
    api::MeshConfig fresh = api::decode_mesh_config(*listing.mesh_config, found);
    const bool good = !any_error(found);
    if (good) {
      mesh_config_ = std::move(fresh);
      mesh_document_ = listing.mesh_config;
    } else {
      found.push_back({doc::Problem::Severity::kWarning, "LAST_GOOD", "ConfigMap/istio-system/istio", "data.mesh",
                       mesh_document_ ? "the mesh configuration of before stays in force until this is mended" : "defaults are in force until this is mended",
                       {listing.mesh_config->file, listing.mesh_config->root.line, listing.mesh_config->root.column}});
    }
    view.problems.insert(view.problems.end(), std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
  }
  view.mesh_config = mesh_config_;
}

}  // namespace config
