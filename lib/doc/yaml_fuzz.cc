#include <cstdint>
#include <cstdlib>

#include "doc/reader.h"
#include "doc/writer.h"

// Whatever the bytes, reading ends; what could be read is written and reads back equal, and as JSON reads back at all.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  for (const char* name : {"fuzz.yaml", "fuzz.json"}) {
    const doc::File file = doc::read(name, text);
    for (const doc::Document& document : file.documents) {
      const doc::File again = doc::read_yaml("again.yaml", doc::to_yaml(document.root));
      if (!again.problems.empty() || again.documents.size() != 1 || !(again.documents[0].root == document.root)) std::abort();
      if (!doc::read_json("again.json", doc::to_json(document.root)).problems.empty()) std::abort();
    }
  }
  return 0;
}
