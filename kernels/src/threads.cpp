#include "threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sys/mman.h>
#endif

namespace ception {
namespace {

struct Part {
  int64_t first, last;
};

Part part_of(int64_t items, int worker, int size) { return {items * worker / size, items * (worker + 1) / size}; }

// How long threads look out before they sleep: calls of a step follow one another, and to be woken takes as long as a small
// one. No longer, for others may need the processor.
constexpr auto kLookout = std::chrono::microseconds(60);

// Looks out for a while; whether it has come.
template <typename Come>
bool looked_out(const Come &come) {
  const auto end = std::chrono::steady_clock::now() + kLookout;
  do {
    for (int i = 0; i < 20; ++i) {
      if (come()) return true;
#if defined(CEPTION_X86)
      __builtin_ia32_pause();
#else
      std::this_thread::yield();
#endif
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// Threads that look out for work, then sleep until there is some. One piece of work at a time is shared out; who comes
// meanwhile computes alone.
class Pool {
 public:
  explicit Pool(int size) {
    for (int worker = 1; worker < size; ++worker) threads_.emplace_back([this, worker] { wait(worker); });
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    work_.notify_all();
    for (auto &thread : threads_) thread.join();
  }

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  void share_out(int64_t items, Task task, void *context) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      items_ = items, task_ = task, context_ = context, left_ = size() - 1;
      ++round_;
    }
    work_.notify_all();
    part(0);
    if (looked_out([this] { return left_ == 0; })) return;
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return left_ == 0; });
  }

 private:
  void wait(int worker) {
    uint64_t seen = 0;
    for (;;) {
      looked_out([&] { return ended_ || round_ != seen; });
      {
        std::unique_lock<std::mutex> lock(mutex_);
        work_.wait(lock, [&] { return ended_ || round_ != seen; });
        if (ended_) return;
        seen = round_;
      }
      part(worker);
      std::lock_guard<std::mutex> lock(mutex_);
      if (--left_ == 0) done_.notify_one();
    }
  }

  void part(int worker) {
    const Part part = part_of(items_, worker, size());
    for (int64_t item = part.first; item < part.last; ++item) task_(context_, item, worker);
  }

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::atomic<uint64_t> round_{0};
  int64_t items_ = 0;
  Task task_ = nullptr;
  void *context_ = nullptr;
  std::atomic<int> left_{0};
  std::atomic<bool> ended_{false};
};

std::mutex pool_mutex;  // held while work is shared out, and where the pool changes
Pool *pool = nullptr;    // never freed at the end: who still computes then needs it
std::atomic<int> wanted_threads{0};  // 0: not said yet

int machine_threads() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

// Blocks that are free, by their size; what is beyond is given back.
constexpr size_t kKept = size_t{256} << 20;
constexpr size_t kHugePage = size_t{2} << 20;
std::mutex memory_mutex;
std::multimap<size_t, float *> *free_blocks = new std::multimap<size_t, float *>;  // outlives what is still computing
size_t kept_bytes = 0;

#if defined(__linux__)
// A forked process has none of the threads: it begins without a pool, and with mutexes that nobody holds.
void before_fork() {
  pool_mutex.lock();
  memory_mutex.lock();
}
void in_parent() {
  memory_mutex.unlock();
  pool_mutex.unlock();
}
void in_child() {
  pool = nullptr;
  in_parent();
}
const int registered = pthread_atfork(before_fork, in_parent, in_child);
#endif

}  // namespace

int threads() {
  const int wanted = wanted_threads;
  return wanted ? wanted : machine_threads();
}

void set_threads(int wanted) {
  wanted_threads = std::clamp(wanted, 1, machine_threads());
}

void share_out(int64_t items, int size, Task task, void *context) {
  std::unique_lock<std::mutex> lock(pool_mutex, std::try_to_lock);
  if (lock.owns_lock() && items > 1 && size > 1) {
    if (!pool || pool->size() != size) {
      delete pool;
      pool = new Pool(size);
    }
    pool->share_out(items, task, context);
    return;
  }
  if (lock.owns_lock()) lock.unlock();
  for (int worker = 0; worker < size; ++worker) {
    const Part part = part_of(items, worker, size);
    for (int64_t item = part.first; item < part.last; ++item) task(context, item, worker);
  }
}

Scratch::Scratch(size_t floats) : bytes_((std::max(floats, size_t{1}) * sizeof(float) + 63) / 64 * 64) {
  {
    std::lock_guard<std::mutex> lock(memory_mutex);
    auto found = free_blocks->lower_bound(bytes_);
    if (found != free_blocks->end() && found->first <= bytes_ * 2) {
      bytes_ = found->first, data_ = found->second;
      kept_bytes -= bytes_;
      free_blocks->erase(found);
      return;
    }
  }
  const bool large = bytes_ >= kHugePage;
  if (large) bytes_ = (bytes_ + kHugePage - 1) / kHugePage * kHugePage;
#if defined(_WIN32)
  data_ = static_cast<float *>(_aligned_malloc(bytes_, large ? kHugePage : 64));
#else
  data_ = static_cast<float *>(std::aligned_alloc(large ? kHugePage : 64, bytes_));
#endif
#if defined(__linux__)
  if (data_ && large) madvise(data_, bytes_, MADV_HUGEPAGE);
#endif
}

Scratch::~Scratch() {
  if (!data_) return;
  {
    std::lock_guard<std::mutex> lock(memory_mutex);
    if (kept_bytes + bytes_ <= kKept) {
      free_blocks->emplace(bytes_, data_);
      kept_bytes += bytes_;
      return;
    }
  }
#if defined(_WIN32)
  _aligned_free(data_);
#else
  std::free(data_);
#endif
}

}  // namespace ception
