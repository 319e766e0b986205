#include "routing/visibility.h"

#include <algorithm>

namespace routing {
namespace {
Reach one(std::string_view word, std::string_view owner, std::string_view reader) noexcept {
  if (word == "*") return Reach::kPublic;
  if (word == ".") return owner == reader ? Reach::kPrivate : Reach::kNone;
  return word == reader ? Reach::kListed : Reach::kNone;   // "~" is no namespace's name: nobody
}
}  // namespace

Reach reach(const std::vector<api::Text>& export_to, std::string_view owner, std::string_view reader) {
  if (export_to.empty()) return Reach::kPublic;
  Reach best = Reach::kNone;
  for (const auto& word : export_to) best = std::max(best, one(word.value, owner, reader));
  return best;
}

Reach reach_of_service(const api::Meta& meta, std::string_view reader) {
  const auto found = meta.annotations.find("networking.istio.io/exportTo");
  if (found == meta.annotations.end()) return Reach::kPublic;
  Reach best = Reach::kNone;
  std::string_view rest = found->second;
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    std::string_view word = rest.substr(0, comma);
    more = comma != rest.npos;
    if (more) rest.remove_prefix(comma + 1);
    while (word.starts_with(' ')) word.remove_prefix(1);
    while (word.ends_with(' ')) word.remove_suffix(1);
    best = std::max(best, one(word, meta.name_space, reader));
  }
  return best;
}

std::vector<const api::VirtualService*> visible(const std::vector<const api::VirtualService*>& all, std::string_view reader) {
  std::vector<const api::VirtualService*> out;
  for (const Reach wanted : {Reach::kPrivate, Reach::kListed, Reach::kPublic})
    for (const auto* vs : all)
      if (reach(vs->export_to, vs->meta.name_space, reader) == wanted) out.push_back(vs);
  return out;
}

}  // namespace routing
