// Threads that wait for work, and memory that is kept for the next call.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ception {

using Task = void (*)(void *context, int64_t item, int worker);

// How many threads compute.
int threads();
void set_threads(int wanted);

// Calls the task for each item, in the calling thread and others; worker < size is whose share the item belongs to.
// Shares follow from the number of items and the size alone, whoever computes them: what workers sum up apart is the
// same from run to run. Where another call has the threads, the calling one computes all shares.
void share_out(int64_t items, int size, Task task, void *context);

// Memory for floats, aligned to 64 bytes; freed blocks are kept for who comes next. Null where there is none.
class Scratch {
 public:
  explicit Scratch(size_t floats);
  ~Scratch();
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;
  float *data() const { return data_; }

 private:
  size_t bytes_;
  float *data_;
};

}  // namespace ception
