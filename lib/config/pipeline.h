#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/resource.h"
#include "doc/problem.h"
#include "net/worker.h"
#include "routing/engine.h"

namespace config {

// What one source holds at one moment: every object (valid or not), problems of files that are no objects, and which bytes
// these are. Directories are small enough to be listed whole; deltas come with the Kubernetes source.
struct Listing {
  std::vector<std::shared_ptr<const api::Resource>> resources;   // in the order in which later ones win
  doc::Problems problems;              // broken documents, duplicates
  std::string digest;                  // CONTRACT /config/status
  // The winning ConfigMap istio-system/istio as it was written; null: there is none.
  std::shared_ptr<const doc::Document> mesh_config;
  // Places that could not be read or did not parse: objects that came from there keep their last good version.
  struct Broken {
    std::string file;                  // a folder's ends with '/'
    std::string object;                // Kind/namespace/name as far as the text shows it; empty: any object of that file
  };
  std::vector<Broken> broken;
  bool complete = true;                // false: a root is missing; what it held before is still listed
};

// Where configuration comes from: directories, Kubernetes, xDS. Runs on a thread of its own, calls the sink on it.
class Source {
 public:
  using Sink = std::function<void(Listing)>;
  virtual ~Source() = default;         // no call of the sink after it
  virtual void start(Sink sink) = 0;   // delivers the first full listing soon, then one per change
};

// Files and directories, watched; several roots in order, the later wins (CONTRACT, Configuration directory).
std::unique_ptr<Source> directory_source(std::vector<std::string> roots);
// Reads the roots once: lint, explain, wait. Never fails: an unreadable file is a problem.
Listing read_roots(const std::vector<std::string>& roots);
// The digest of these roots alone, without parsing.
std::string digest_of_roots(const std::vector<std::string>& roots);

// Keeps the last good version of each object: an object that became invalid is served as it was, and both facts are listed.
class Store {
 public:
  struct View {
    std::vector<std::shared_ptr<const api::Resource>> good;      // one per key
    api::MeshConfig mesh_config;                                 // the last good one too
    doc::Problems problems;
    std::string digest;
    bool complete = true;              // as the listing says
  };
  View update(Listing listing);

 private:
  void update_mesh_config(const Listing& listing, View& view);
  std::vector<std::shared_ptr<const api::Resource>> last_good_;
  api::MeshConfig mesh_config_;
  std::shared_ptr<const doc::Document> mesh_document_;           // from which mesh_config_ was read
};

// A plain count owned by one worker; when the last handle of a worker goes, the snapshot is given back to the compiler thread,
// which frees it: a worker never frees 100 MB inside a turn.
class SnapshotHandle {
 public:
  SnapshotHandle() = default;
  SnapshotHandle(const SnapshotHandle& other) noexcept : lease_(other.lease_) { retain(); }
  SnapshotHandle(SnapshotHandle&& other) noexcept : lease_(std::exchange(other.lease_, nullptr)) {}
  SnapshotHandle& operator=(SnapshotHandle other) noexcept {
    std::swap(lease_, other.lease_);
    return *this;
  }
  ~SnapshotHandle() { release(); }
  const routing::Snapshot* operator->() const noexcept { return get(); }
  const routing::Snapshot& operator*() const noexcept { return *get(); }
  const routing::Snapshot* get() const noexcept;
  explicit operator bool() const noexcept { return lease_ != nullptr; }

 private:
  friend class Publisher;
  struct Lease;
  explicit SnapshotHandle(Lease* lease) noexcept : lease_(lease) {}
  void retain() noexcept;
  void release() noexcept;
  Lease* lease_ = nullptr;
};

// Hands snapshots and endpoints to the workers, one post each.
class Publisher {
 public:
  // Runs on the worker: takes over snapshot and endpoints. An empty handle means: endpoints only.
  using Apply = std::function<void(net::Worker&, SnapshotHandle, std::shared_ptr<const routing::Endpoints>)>;
  // `returned` is called on a worker when it has given back a snapshot, so that somebody calls collect() soon; it must not block.
  Publisher(std::vector<net::Worker*> workers, Apply apply, std::function<void()> returned = {});
  ~Publisher();                        // workers have stopped
  void publish(std::shared_ptr<routing::Snapshot> next, std::shared_ptr<const routing::Endpoints> endpoints);   // compiler thread
  void collect();                                                // compiler thread: frees what the workers have given back
  bool live_everywhere(uint64_t version) const noexcept;         // any thread
  uint64_t version() const noexcept;                             // last published
  size_t old_snapshots_alive() const noexcept;                   // not counting the current one
 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What `/config/status` says.
struct Status {
  uint64_t snapshot = 0;
  std::string digest;
  bool applied_on_all_workers = false;
  doc::Problems problems;
  std::string json() const;            // as the CONTRACT spells it
};

// Source → store → validate → compile for this proxy → publish, on threads of its own.
class Pipeline {
 public:
  struct Options {
    std::vector<std::string> roots;
    std::function<routing::Proxy(const api::Mesh&)> self;        // who we are now: labels follow the Pod when it changes
  };
  Pipeline(Options options, std::vector<net::Worker*> workers, Publisher::Apply apply);
  ~Pipeline();                         // stops; the workers stand still
  void start();
  void stop();                         // joins its threads: nothing is posted to a worker afterwards
  Status status() const;               // any thread
  bool ready() const noexcept;         // the first snapshot is live on every worker
  size_t old_snapshots_alive() const noexcept;
  std::shared_ptr<const routing::Snapshot> latest() const;       // for admin dumps; any thread
  // Called on the compiler thread after each publication (gateway listeners follow the snapshot there).
  void on_published(std::function<void(const routing::Snapshot&)> f);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The same steps once, without threads and workers: lint and explain.
struct Offline {
  api::Mesh mesh;
  doc::Problems problems;              // of files, objects and references; sorted by file and line
  std::string digest;
};
Offline load(const std::vector<std::string>& roots);

}  // namespace config
