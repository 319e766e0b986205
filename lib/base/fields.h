#pragma once

#include <cstdint>
#include <memory_resource>
#include <span>
#include <string_view>
#include <vector>

namespace base {

// Names that the code asks for by number instead of comparing text.
#define SLUICE_FIELDS(row)                                                                                              \
  row(Host, "host") row(ContentLength, "content-length") row(TransferEncoding, "transfer-encoding")                     \
  row(Connection, "connection") row(KeepAlive, "keep-alive") row(ProxyConnection, "proxy-connection") row(Te, "te")     \
  row(Trailer, "trailer") row(Upgrade, "upgrade") row(Expect, "expect") row(Date, "date") row(Server, "server")         \
  row(ContentType, "content-type") row(UserAgent, "user-agent") row(Origin, "origin") row(Authorization, "authorization") \
  row(Cookie, "cookie") row(Location, "location") row(GrpcStatus, "grpc-status") row(GrpcTimeout, "grpc-timeout")       \
  row(RequestId, "x-request-id") row(ForwardedFor, "x-forwarded-for") row(ForwardedProto, "x-forwarded-proto")          \
  row(ForwardedHost, "x-forwarded-host") row(ForwardedClientCert, "x-forwarded-client-cert")                            \
  row(EnvoyAttemptCount, "x-envoy-attempt-count") row(EnvoyUpstreamServiceTime, "x-envoy-upstream-service-time")        \
  row(EnvoyOriginalPath, "x-envoy-original-path") row(EnvoyDecorator, "x-envoy-decorator-operation")                    \
  row(EnvoyPeerMetadata, "x-envoy-peer-metadata") row(EnvoyPeerMetadataId, "x-envoy-peer-metadata-id")                  \
  row(EnvoyExternalAddress, "x-envoy-external-address") row(EnvoyInternal, "x-envoy-internal")

enum class FieldId : uint16_t {
  kOther,
#define SLUICE_FIELD_NAME(name, text) k##name,
  SLUICE_FIELDS(SLUICE_FIELD_NAME)
#undef SLUICE_FIELD_NAME
};

struct Field {
  std::string_view name;     // lower-case
  std::string_view value;    // surrounding blanks removed
  const char* raw = nullptr; // spelling on the wire, as long as `name`, when it differs (preserveHttp1HeaderCase)
  FieldId id = FieldId::kOther;
  uint16_t unused = 0;
  uint32_t hash = 0;         // name_hash(name)
};

// kOther when the name is not in the table. `lower` must be lower-case.
FieldId field_id(std::string_view lower) noexcept;
std::string_view field_name(FieldId id) noexcept;
uint32_t name_hash(std::string_view lower) noexcept;
// For scanners that hash a name while they read it: name_hash of a name of at most kHashedBytes bytes, byte by byte, and
// field_id when the hash is known.
inline constexpr uint32_t kNameHashSeed = 2166136261u;
inline constexpr size_t kHashedBytes = 64;
constexpr uint32_t name_hash_step(uint32_t hash, char c) noexcept { return (hash ^ static_cast<unsigned char>(c)) * 16777619u; }
FieldId field_id(std::string_view lower, uint32_t hash) noexcept;

// The one table of header fields of a message: codec, filters, engine and access log read the same rows. Ordered, duplicates
// kept. Names are lower-case always. It stores views: text must live as long as the message, which is what `keep` is for.
class Fields {
 public:
  explicit Fields(std::pmr::memory_resource* arena) : list_(arena) {}

  std::string_view get(FieldId id) const noexcept {             // value of the first row; empty when absent or empty
    const Field* field = find(id);
    return field ? field->value : std::string_view{};
  }
  std::string_view get(std::string_view lower) const noexcept;
  const Field* find(FieldId id) const noexcept {                // first row or null
    return seen_ & bit(id) ? find_seen(id) : nullptr;
  }
  const Field* find(std::string_view lower) const noexcept;
  size_t count(FieldId id) const noexcept;
  void add(std::string_view name, std::string_view value);      // appends; name lower-case, both views outlive the message
  void add(FieldId id, std::string_view value);
  void add(const Field& row) {                                  // as it is, raw spelling kept
    seen_ |= bit(row.id);
    list_.push_back(row);
  }
  void set(std::string_view name, std::string_view value);      // the first row gets the value, further rows go; else appends
  void set(FieldId id, std::string_view value);
  size_t remove(std::string_view lower) noexcept;               // how many rows went
  size_t remove(FieldId id) noexcept { return seen_ & bit(id) ? remove_seen(id) : 0; }
  // Removes the rows for which `drop(const Field&)` says true.
  template <class Drop> size_t remove_if(Drop drop) { return std::erase_if(list_, drop); }
  std::span<const Field> all() const noexcept { return list_; }
  size_t size() const noexcept { return list_.size(); }
  void clear() noexcept {
    list_.clear();
    seen_ = 0;
  }
  void reserve(size_t n) { list_.reserve(n); }
  // Copies text into the arena of the message; the view lives as long as that.
  std::string_view keep(std::string_view text);
  std::pmr::memory_resource* arena() const noexcept { return list_.get_allocator().resource(); }

 private:
  static constexpr uint64_t bit(FieldId id) noexcept { return uint64_t{1} << static_cast<unsigned>(id); }
  const Field* find_seen(FieldId id) const noexcept;
  size_t remove_seen(FieldId id) noexcept;

  std::pmr::vector<Field> list_;
  // The ids of all rows that were ever added. Most questions are about a field that is not there: they end here.
  uint64_t seen_ = 0;
};

}  // namespace base
