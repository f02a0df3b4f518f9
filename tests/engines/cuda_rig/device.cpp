// A pretended CUDA device: tensors on "cuda:0" whose memory is the host's, on which the CPU's kernels compute.
//
// torch finds the kernel of an operator by the *dispatch key* of its tensors. A torch without CUDA has the key CUDA, but
// nothing is registered for it. This file registers, by torch's own registries,
//
//   * hooks, by which torch sees that there is a CUDA device with pinned memory (CUDAHooks),
//   * a guard, which says which device is the current one (Guard),
//   * an allocator (DeviceMemory),
//   * one function for all operators of the key (on_device): it makes a CPU tensor of each CUDA tensor, of the same
//     memory, calls the operator's CPU kernel, and makes CUDA tensors of its results.
//
// Like CUDA, it refuses tensors of the host beside those of the device. It logs what each operator is to a real device:
//
//   launch   work that is put into the device's queue
//   view     no work: sizes and strides change
//   send     host to device, from pinned memory and without waiting    upload    the same, and the host waits
//   fetch    device to host, into pinned memory and without waiting    download  the same, and the host waits
//   wait     the host needs a value, or a size that depends on values
//
// Autograd, autocast, views and fused optimisers lie above the key and are torch's own. There are no times, no streams
// and no races here, and errors of a kernel cannot be seen.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>

namespace {

using Names = std::set<std::string>;

const c10::Device HOST(c10::kCPU), DEVICE(c10::kCUDA, 0);

// ---- the log ----

std::mutex log_mutex;
bool logging = false;
std::string logged;

void note(const std::string& line) {
  const std::lock_guard<std::mutex> held(log_mutex);
  if (logging) logged += line + "\n";
}

// ---- memory ----

// As CUDA's allocator does, takes of the free blocks of a size the one of lowest address: like steps get like memory.
struct Blocks final : c10::Allocator {
  static constexpr size_t ALIGNED = 512;
  static inline std::mutex mutex;
  static inline std::map<size_t, std::set<void*>> free;
  static inline std::unordered_map<void*, size_t> sizes;

  static void give_back(void* start) {
    const std::lock_guard<std::mutex> held(mutex);
    if (start) free[sizes.at(start)].insert(start);
  }
  c10::DataPtr allocate(size_t bytes) override {
    const size_t size = (bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
    if (!size) return {nullptr, HOST};
    const std::lock_guard<std::mutex> held(mutex);
    auto& there = free[size];
    void* start;
    if (there.empty()) {
      start = std::aligned_alloc(ALIGNED, size);
      TORCH_CHECK(start, "no memory left for ", size, " bytes");
      sizes[start] = size;
    } else {
      start = *there.begin();
      there.erase(there.begin());
    }
    return {start, start, &give_back, HOST};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
} blocks;

std::mutex pinned_mutex;
std::set<const void*> pinned;

// The memory of another allocation as an allocation of its own, which keeps the other one alive.
template <class Kept>
c10::DataPtr shared_memory(void* memory, Kept kept, c10::Device device) {
  return c10::DataPtr(memory, new Kept(std::move(kept)), [](void* held) { delete static_cast<Kept*>(held); }, device);
}

struct DeviceMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    auto memory = c10::GetCPUAllocator()->allocate(bytes);
    void* start = memory.get();
    return shared_memory(start, std::move(memory), DEVICE);
  }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};

struct PinnedMemory final : c10::Allocator {
  struct Unpins {
    void operator()(c10::DataPtr* memory) const {
      {
        const std::lock_guard<std::mutex> held(pinned_mutex);
        pinned.erase(memory->get());
      }
      delete memory;
    }
  };
  c10::DataPtr allocate(size_t bytes) override {
    std::unique_ptr<c10::DataPtr, Unpins> memory(new c10::DataPtr(c10::GetCPUAllocator()->allocate(bytes)));
    void* start = memory->get();
    const std::lock_guard<std::mutex> held(pinned_mutex);
    pinned.insert(start);
    return shared_memory(start, std::move(memory), HOST);
  }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};

DeviceMemory device_memory;
PinnedMemory pinned_memory;

bool is_pinned(const void* start) {
  const std::lock_guard<std::mutex> held(pinned_mutex);
  return pinned.count(start) > 0;
}

// ---- what torch asks about the device ----

struct Hooks final : at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  int getNumGPUs() const override { return 1; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex current_device() const override { return 0; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  bool isPinnedPtr(const void* start) const override { return is_pinned(start); }
  at::Allocator* getPinnedMemoryAllocator() const override { return &pinned_memory; }
  at::Allocator* getCUDADeviceAllocator() const override { return &device_memory; }
  at::Device getDeviceFromPtr(void*) const override { return DEVICE; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return at::detail::createCPUGenerator(); }
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::kCUDA; }
  c10::Device exchangeDevice(c10::Device) const override { return DEVICE; }
  c10::Device getDevice() const override { return DEVICE; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  c10::Stream getStream(c10::Device) const noexcept override { return only_stream(); }
  c10::Stream getNewStream(c10::Device, int) const override { return only_stream(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return only_stream(); }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override { note("wait stream"); }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}

 private:
  static c10::Stream only_stream() { return c10::Stream(c10::Stream::DEFAULT, DEVICE); }
};

// ---- the same memory as tensors of the host and of the device ----

c10::Storage storage_on(const c10::Storage& storage, c10::Device device) {
  c10::Allocator* resizing = device.is_cpu() ? c10::GetCPUAllocator() : &device_memory;
  void* start = const_cast<void*>(storage.data());
  return c10::Storage(c10::Storage::use_byte_size_t(), storage.nbytes(), shared_memory(start, storage, device),
                      resizing, true);
}

at::Tensor with_storage(c10::Storage storage, const at::Tensor& like, c10::DispatchKey key) {
  auto made = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), like.dtype());
  made.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  return made;
}

at::Tensor on_host(const at::Tensor& x) {
  auto made = with_storage(storage_on(x.storage(), HOST), x, c10::DispatchKey::CPU);
  if (x.is_neg()) made._set_neg(true);
  if (x.is_conj()) made._set_conj(true);
  return made;
}

// After an operator that writes to an argument: it may have resized it, and so moved its memory.
void take_over(const at::Tensor& x, const at::Tensor& host) {
  auto* own = x.storage().unsafeGetStorageImpl();
  const auto& its = host.storage();
  if (its.data() != own->data() || its.nbytes() != own->nbytes()) {
    own->set_data_ptr_noswap(shared_memory(const_cast<void*>(its.data()), its, DEVICE));
    own->set_nbytes(its.nbytes());
  }
  if (x.sizes() != host.sizes() || x.strides() != host.strides())
    x.unsafeGetTensorImpl()->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
}

// ---- operators ----

// Their results' sizes depend on values, or they return a value to the host.
const Names WAITS = {"_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique2", "unique_dim",
                     "unique_consecutive", "bincount", "repeat_interleave", "histc", "_linalg_check_errors",
                     "is_nonzero"};
const Names VIEWS = {"empty", "empty_strided", "as_strided", "view", "_reshape_alias", "resize_", "set_", "unfold",
                     "alias", "view_as_real", "view_as_complex", "resize_as_", "record_stream"};
// Indices may be on the host, which are copied, and masks, whose size is asked for: by torch, or by the last one itself.
const Names INDEXED = {"index", "index_put_", "_index_put_impl_"};
const std::string INDEXES_ITSELF = "_index_put_impl_";
const Names MIXED = {"_copy_from", "_copy_from_and_resize", "_to_copy", "_foreach_copy_"};
// Most operators take single numbers from the host's memory; these do not.
const Names STRICT = {"cat", "stack", "gather", "scatter", "index_select", "mm", "bmm", "addmm"};
const Names REAL = {"mm", "bmm", "addmm", "baddbmm", "addbmm", "dot", "mv", "addmv_", "convolution"};

std::string described(const at::Tensor& x) {
  std::string text = std::string(c10::toString(x.scalar_type())) + "[";
  for (auto extent : x.sizes()) text += std::to_string(extent) + ",";
  return text + "]@" + std::to_string(reinterpret_cast<uintptr_t>(x.storage().data())) + " ";
}

struct Call {
  std::string name, arguments;
  std::vector<std::pair<at::Tensor, at::Tensor>> tensors;  // of the device, and the same on the host
  bool made_there = false;                                 // an argument names the device
  bool masks = false, host_index = false, integers = false;

  at::Tensor taken(const at::Tensor& x, const std::string& argument) {
    if (!x.defined()) return x;
    arguments += described(x);
    if (x.is_cuda()) {
      integers = integers || !x.is_floating_point();
      tensors.emplace_back(x, on_host(x));
      return tensors.back().second;
    }
    const bool indexed = INDEXED.count(name) && argument == "indices";
    host_index = host_index || (indexed && x.dim() > 0);
    TORCH_CHECK(indexed || MIXED.count(name) || (x.dim() == 0 && !STRICT.count(name)),
                "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
                "(argument ", argument, " of aten::", name, ")");
    return x;
  }

  // A result: an argument itself, a view of one, or new.
  at::Tensor given(const at::Tensor& x) const {
    if (!x.defined() || !x.is_cpu()) return x;
    for (const auto& [own, host] : tensors)
      if (x.is_same(host)) return own;
    for (const auto& [own, host] : tensors)
      if (x.storage().is_alias_of(host.storage())) return with_storage(own.storage(), x, c10::DispatchKey::CUDA);
    if (tensors.empty() && !made_there) return x;
    return with_storage(storage_on(x.storage(), DEVICE), x, c10::DispatchKey::CUDA);
  }

  std::string kind() const {
    if (WAITS.count(name) || (masks && name == INDEXES_ITSELF)) return "wait";
    return VIEWS.count(name) ? "view" : "launch";
  }
};

void on_device(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const size_t count = schema.arguments().size(), first = stack->size() - count;
  Call call;
  call.name = schema.name().substr(schema.name().find("::") + 2);
  for (size_t i = 0; i < count; i++) {
    c10::IValue& value = (*stack)[first + i];
    const auto& argument = schema.arguments()[i].name();
    if (value.isTensor()) {
      value = call.taken(value.toTensor(), argument);
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> taken;
      for (const at::Tensor x : value.toTensorList()) taken.push_back(call.taken(x, argument));
      value = taken;
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> taken;
      for (const std::optional<at::Tensor> x : value.toOptionalTensorList()) {
        const bool there = x.has_value() && x->defined();
        call.masks = call.masks || (there && (x->scalar_type() == at::kBool || x->scalar_type() == at::kByte));
        taken.push_back(there ? std::optional<at::Tensor>(call.taken(*x, argument)) : x);
      }
      value = taken;
    } else if (value.isDevice() && value.toDevice().is_cuda()) {
      call.made_there = true;
      value = HOST;
    }
  }
  TORCH_CHECK(!(REAL.count(call.name) && call.integers), "\"", call.name, "_cuda\" not implemented for integers");
  if (call.host_index && call.name == INDEXES_ITSELF) note("upload " + call.name);
  note(call.kind() + " " + call.name + (schema.overload_name().empty() ? "" : "." + schema.overload_name()) + " " +
       call.arguments);
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  for (const auto& [own, host] : call.tensors) take_over(own, host);
  for (size_t i = stack->size() - schema.returns().size(); i < stack->size(); i++) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      value = call.given(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> given;
      for (const at::Tensor x : value.toTensorList()) given.push_back(call.given(x));
      value = given;
    }
  }
}

at::Tensor& copied(at::Tensor& self, const at::Tensor& from, bool non_blocking) {
  std::string kind = "launch";
  if (self.is_cuda() != from.is_cuda()) {
    const auto& host = self.is_cuda() ? from : self;
    const bool waits = !non_blocking || !is_pinned(host.storage().data());
    kind = self.is_cuda() ? (waits ? "upload" : "send") : (waits ? "download" : "fetch");
  }
  note(kind + " copy_ " + described(self) + described(from));
  const at::AutoDispatchBelowADInplaceOrView below;
  auto to = self.is_cuda() ? on_host(self) : self;
  to.copy_(from.is_cuda() ? on_host(from) : from);
  return self;
}

// The three forms of ``set_`` change which memory a tensor has, so they are done on the tensor itself.
at::Tensor& set_storage(at::Tensor& self, c10::Storage storage, c10::SymInt offset, c10::SymIntArrayRef sizes,
                        c10::SymIntArrayRef strides) {
  const auto extents = C10_AS_INTARRAYREF_SLOW(sizes), given = C10_AS_INTARRAYREF_SLOW(strides);
  std::vector<int64_t> steps(given.begin(), given.end());
  if (steps.empty() && !extents.empty()) {
    steps.assign(extents.size(), 1);
    for (size_t i = extents.size() - 1; i > 0; i--) steps[i - 1] = steps[i] * extents[i];
  }
  self.unsafeGetTensorImpl()->set_storage_keep_dtype(std::move(storage));
  self.unsafeGetTensorImpl()->set_sizes_and_strides(extents, steps, offset.expect_int());
  return self;
}

at::Tensor& set_whole(at::Tensor& self, c10::Storage storage) {
  const std::vector<c10::SymInt> sizes{static_cast<int64_t>(storage.nbytes() / self.itemsize())}, strides{1};
  return set_storage(self, std::move(storage), 0, sizes, strides);
}

at::Tensor& set_tensor(at::Tensor& self, const at::Tensor& source) {
  return set_storage(self, source.storage(), source.storage_offset(), source.sym_sizes(), source.sym_strides());
}

struct Ready {
  Ready() {
    c10::SetCPUAllocator(&blocks, 1);  // the CPU's kernels allocate what is on the device
    c10::SetAllocator(c10::kCUDA, &device_memory, 1);
  }
} ready;

C10_REGISTER_GUARD_IMPL(CUDA, Guard)
using at::CUDAHooksRegistry, at::RegistererCUDAHooksRegistry;
C10_REGISTER_TYPED_CLASS(CUDAHooksRegistry, "CUDAHooks", Hooks)

TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&on_device>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("copy_", copied);
  library.impl("set_.source_Storage_storage_offset", set_storage);
  library.impl("set_.source_Storage", set_whole);
  library.impl("set_.source_Tensor", set_tensor);
  // torch divides these further, into what it has for CUDA alone; here they are one launch, as with cuDNN
  for (const char* whole : {"convolution", "convolution_backward"})
    library.impl(whole, torch::CppFunction::makeFromBoxedFunction<&on_device>());
  // and operators on lists of tensors into one operator for each
  for (const auto& name : c10::Dispatcher::singleton().getAllOpNames())
    if (name.name.rfind("aten::_foreach_", 0) == 0)
      library.impl((name.name + (name.overload_name.empty() ? "" : "." + name.overload_name)).c_str(),
                   torch::CppFunction::makeFromBoxedFunction<&on_device>());
}

}  // namespace

extern "C" {

void pretended_note(const char* line) { note(line); }

void pretended_log(bool on) {
  const std::lock_guard<std::mutex> held(log_mutex);
  logging = on;
  logged.clear();
}

const char* pretended_logged() { return logged.c_str(); }
}
