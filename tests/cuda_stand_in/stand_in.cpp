// A stand-in for libtorch_cuda.so on a machine without a GPU: one CUDA device whose memory is host
// memory. It exists for tests alone (docs/src/gpu.md says what it can show and what not).
//
// - Every operation that has a CUDA kernel runs the CPU's kernel on tensors over the same memory
//   (`run_on_host`), so results can be compared with a run on the CPU bit for bit.
// - What a GPU refuses is refused: tensors of two devices, operations without a CUDA kernel. Both
//   tables are made by `cargo xtask` from the libtorch that is there (`kernels.inc`).
// - New memory holds NaN. Operations (a GPU would launch kernels for them), waits for it and
//   copies to the device that hold up the caller are counted, by name.
//
// ISOTROPY_CUDA_STAND_IN_COUNTS=FILE         writes the counts when the process ends
// ISOTROPY_CUDA_STAND_IN_OWN_GENERATOR=1     random numbers of the device are not the CPU's
// ISOTROPY_CUDA_STAND_IN_TRACE=1             prints where each wait and each upload comes from

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/EmptyTensor.h>
#include <ATen/NativeFunctions.h>
#include <ATen/SDPBackend.h>
#include <ATen/native/transformers/attention.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <execinfo.h>
#include <torch/library.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace {

using c10::DeviceType;
using c10::DispatchKey;
using c10::DispatchKeySet;
using c10::IValue;
using c10::OperatorHandle;
using torch::jit::Stack;

// HAS_CUDA_KERNEL: functions of at::cuda. REFUSES_CPU_TENSORS: methods that name themselves in the
// error for tensors of two devices, which is how the real library marks what it checks.
#include "kernels.inc"

const c10::Device DEVICE(DeviceType::CUDA, 0);

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
}

// ---- what is counted ----

struct Count {
  int64_t launches = 0, waits = 0, uploads = 0;
};

enum class Event { Launch, Wait, Upload, QuietUpload };

class Counts {
 public:
  void add(const std::string& operation, Event event) {
    std::lock_guard<std::mutex> guard(mutex_);
    Count& count = by_name_[operation];
    switch (event) {
      case Event::Launch: ++count.launches; ++total_.launches; break;
      case Event::Wait: ++count.waits; ++total_.waits; break;
      case Event::Upload: ++count.uploads; ++total_.uploads; break;
      case Event::QuietUpload: ++quiet_uploads_; break;
    }
    if (trace_ && (event == Event::Wait || event == Event::Upload)) {
      std::fprintf(stderr, "stand-in: %s in %s\n", event == Event::Wait ? "wait" : "upload",
                   operation.c_str());
      void* frames[64];
      backtrace_symbols_fd(frames, backtrace(frames, 64), 2);
    }
  }

  void write() {
    const char* path = std::getenv("ISOTROPY_CUDA_STAND_IN_COUNTS");
    if (path == nullptr) return;
    std::lock_guard<std::mutex> guard(mutex_);
    std::ofstream file(path);
    file << "{\"launches\": " << total_.launches << ", \"waits\": " << total_.waits
         << ", \"uploads\": " << total_.uploads << ", \"quiet_uploads\": " << quiet_uploads_
         << ", \"operations\": {";
    const char* separator = "\n";
    for (const auto& [name, count] : by_name_) {
      file << separator << "\"" << name << "\": {\"launches\": " << count.launches
           << ", \"waits\": " << count.waits << ", \"uploads\": " << count.uploads << "}";
      separator = ",\n";
    }
    file << "}}\n";
  }

 private:
  std::mutex mutex_;
  std::map<std::string, Count> by_name_;
  Count total_;
  int64_t quiet_uploads_ = 0;
  bool trace_ = is_set("ISOTROPY_CUDA_STAND_IN_TRACE");
};

// Never destroyed: threads of autograd may outlive static objects.
Counts& counts() {
  static Counts* counts = new Counts;
  return *counts;
}

__attribute__((destructor)) void write_counts() { counts().write(); }

// ---- memory ----

class DeviceMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* memory = bytes == 0 ? nullptr : c10::alloc_cpu(bytes);
    // All bits set: NaN in every floating kind, -1 in integers.
    if (memory != nullptr) std::memset(memory, 0xff, bytes);
    return {memory, memory, &release, DEVICE};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }

 private:
  static void release(void* memory) { c10::free_cpu(memory); }
};

DeviceMemory device_memory;

// Host memory from which copies to the device need not wait.
class PinnedMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* memory = c10::alloc_cpu(std::max<size_t>(bytes, 1));
    std::lock_guard<std::mutex> guard(mutex());
    blocks()[memory] = bytes;
    return {memory, memory, &release, c10::Device(DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
  static bool holds(const void* pointer) {
    std::lock_guard<std::mutex> guard(mutex());
    auto after = blocks().upper_bound(const_cast<void*>(pointer));
    if (after == blocks().begin()) return false;
    --after;
    return static_cast<const char*>(pointer) < static_cast<char*>(after->first) + after->second;
  }

 private:
  static void release(void* memory) {
    {
      std::lock_guard<std::mutex> guard(mutex());
      blocks().erase(memory);
    }
    c10::free_cpu(memory);
  }
  static std::mutex& mutex() {
    static std::mutex* mutex = new std::mutex;
    return *mutex;
  }
  static std::map<void*, size_t>& blocks() {
    static auto* blocks = new std::map<void*, size_t>;
    return *blocks;
  }
};

PinnedMemory pinned_memory;

// ---- random numbers ----

// The CPU's generator with other numbers for the same seed.
struct OwnGenerator final : at::CPUGeneratorImpl {
  void set_current_seed(uint64_t seed) override {
    at::CPUGeneratorImpl::set_current_seed(seed ^ 0x5bd1e995cafef00dULL);
  }
};

bool has_own_generator() {
  static const bool own = is_set("ISOTROPY_CUDA_STAND_IN_OWN_GENERATOR");
  return own;
}

const at::Generator& generator() {
  static const at::Generator own = at::make_generator<OwnGenerator>();
  return has_own_generator() ? own : at::detail::getDefaultCPUGenerator();
}

// ---- the device ----

struct Hooks final : at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  int getNumGPUs() const override { return 1; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex current_device() const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override { return generator(); }
  at::Generator getNewGenerator(c10::DeviceIndex) const override {
    return has_own_generator() ? at::make_generator<OwnGenerator>()
                               : at::detail::createCPUGenerator();
  }
  at::Device getDeviceFromPtr(void*) const override { return DEVICE; }
  bool isPinnedPtr(const void* pointer) const override { return PinnedMemory::holds(pointer); }
  at::Allocator* getPinnedMemoryAllocator() const override { return &pinned_memory; }
  at::Allocator* getCUDADeviceAllocator() const override { return &device_memory; }
  void deviceSynchronize(c10::DeviceIndex) const override {
    counts().add("synchronize", Event::Wait);
  }
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  DeviceType type() const override { return DeviceType::CUDA; }
  c10::Device exchangeDevice(c10::Device) const override { return DEVICE; }
  c10::Device getDevice() const override { return DEVICE; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return stream(); }
  c10::Stream getDefaultStream(c10::Device) const override { return stream(); }
  c10::Stream getStreamFromGlobalPool(c10::Device, bool) const override { return stream(); }
  c10::Stream getNewStream(c10::Device, int) const override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const override { return stream(); }
  void record(void** event, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {
    static char some;
    *event = &some;
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {
    counts().add("synchronize", Event::Wait);
  }
  void synchronizeEvent(void*) const override { counts().add("synchronize", Event::Wait); }
  void synchronizeDevice(c10::DeviceIndex) const override {
    counts().add("synchronize", Event::Wait);
  }

 private:
  static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, DEVICE); }
};

// ---- what is known about an operation ----

struct Operation {
  std::string name;
  // Refuses every CPU tensor; otherwise CPU tensors without dimensions pass as numbers.
  bool refuses = false;
  bool has_kernel = false;
  // Waits within its kernel for a number that decides the size of its result, or for an error.
  bool waits = false;
  // Bookkeeping of the host.
  bool is_free = false;
  // Takes the rows that it looks up from the CPU, too.
  bool takes_rows = false;
  // Copies CPU tensors without dimensions to the device.
  bool uploads_numbers = false;
};

const std::unordered_set<std::string> WAITS = {
    "nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive", "equal",
    "repeat_interleave", "bincount", "multinomial", "histc", "linalg_matrix_exp", "_linalg_eig",
    "linalg_eig", "_linalg_eigvals", "linalg_lstsq", "_linalg_svd", "geqrf", "segment_reduce"};
const std::unordered_set<std::string> FREE = {"resize_", "resize_as_", "record_stream", "set_"};
// A convolution is one operation of cuDNN; it has no function of its own in at::cuda.
const std::unordered_set<std::string> OTHER_KERNELS = {"convolution", "is_pinned", "_pin_memory"};

const Operation& describe(const OperatorHandle& handle) {
  static auto* known = new std::unordered_map<c10::OperatorName, Operation>;
  static auto* kernels =
      new std::unordered_set<std::string>(std::begin(HAS_CUDA_KERNEL), std::end(HAS_CUDA_KERNEL));
  static auto* refusing = new std::unordered_set<std::string>(std::begin(REFUSES_CPU_TENSORS),
                                                              std::end(REFUSES_CPU_TENSORS));
  static std::mutex mutex;
  std::lock_guard<std::mutex> guard(mutex);
  const c10::OperatorName& full = handle.operator_name();
  auto [place, is_new] = known->try_emplace(full);
  Operation& operation = place->second;
  if (!is_new) return operation;
  const std::string base = full.name.substr(full.name.find("::") + 2);
  bool has_out = false;
  for (const auto& argument : handle.schema().arguments()) has_out |= argument.is_out();
  // How libtorch's generated C++ calls it.
  const std::string method = base + (has_out ? "_out" : "");
  const std::string& overload = full.overload_name;
  operation.name = overload.empty() ? base : base + "." + overload;
  const std::string plain = "wrapper_CUDA_" + overload + "_" + method;
  const std::string structured =
      "wrapper_CUDA_" + method + (overload.empty() ? "" : "_") + overload;
  operation.refuses = refusing->count(plain) > 0 || refusing->count(structured) > 0;
  operation.has_kernel =
      kernels->count(has_out ? base + "_outf" : base) > 0 || OTHER_KERNELS.count(base) > 0;
  operation.waits = WAITS.count(base) > 0;
  operation.is_free = FREE.count(base) > 0;
  operation.takes_rows = base == "_index_put_impl_" || (base == "index" && has_out);
  operation.uploads_numbers = base == "where";
  return operation;
}

bool is_on_device(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().is_cuda();
}

// ---- running an operation on the host ----

// The CPU tensors of one call: over the memory of the device's on the way in, and back again.
class Call {
 public:
  // A CPU tensor over the memory of `tensor`.
  at::Tensor to_host(const at::Tensor& tensor) {
    c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
    auto place = hosts_.find(storage);
    if (place == hosts_.end()) {
      c10::DataPtr data(const_cast<void*>(storage->data()), c10::Device(DeviceType::CPU));
      c10::Storage host(c10::Storage::use_byte_size_t(), storage->nbytes(), std::move(data),
                        c10::GetCPUAllocator(), /*resizable=*/true);
      devices_.emplace(host.unsafeGetStorageImpl(), tensor.storage());
      place = hosts_.emplace(storage, host).first;
    }
    at::Tensor host = make(place->second, DispatchKey::CPU, tensor);
    if (tensor.is_conj()) host._set_conj(true);
    if (tensor.is_neg()) host._set_neg(true);
    if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) {
      host.unsafeGetTensorImpl()->set_wrapped_number(true);
    }
    tensors_.emplace_back(host, tensor);
    return host;
  }

  // What the operation did to its arguments: resized ones are resized on the device as well.
  void carry_back() {
    for (auto& [host, tensor] : tensors_) {
      c10::StorageImpl* storage = host.storage().unsafeGetStorageImpl();
      c10::StorageImpl* own = tensor.storage().unsafeGetStorageImpl();
      if (storage->data() != own->data() && hosts_.count(own) > 0) {
        own->set_data_ptr_noswap(adopt(host.storage()));
        own->set_nbytes(storage->nbytes());
      }
      const bool same = host.sizes() == tensor.sizes() && host.strides() == tensor.strides() &&
                        host.storage_offset() == tensor.storage_offset();
      if (!same) {
        tensor.unsafeGetTensorImpl()->set_sizes_and_strides(host.sizes(), host.strides(),
                                                            host.storage_offset());
      }
    }
  }

  // The device's tensor for a result; `is_view` becomes false for memory that is not an argument's.
  at::Tensor to_device(const at::Tensor& host, bool& is_view) {
    if (!host.defined()) return host;
    for (auto& [argument, tensor] : tensors_) {
      if (argument.is_same(host)) return tensor;
    }
    auto place = devices_.find(host.storage().unsafeGetStorageImpl());
    if (place == devices_.end()) {
      is_view = false;
      c10::Storage storage(c10::Storage::use_byte_size_t(), host.storage().nbytes(),
                           adopt(host.storage()), &device_memory, /*resizable=*/true);
      place = devices_.emplace(host.storage().unsafeGetStorageImpl(), storage).first;
      kept_.push_back(host);
    }
    at::Tensor tensor = make(place->second, DispatchKey::CUDA, host);
    if (host.is_conj()) tensor._set_conj(true);
    if (host.is_neg()) tensor._set_neg(true);
    return tensor;
  }

 private:
  static at::Tensor make(const c10::Storage& storage, DispatchKey key, const at::Tensor& like) {
    at::Tensor made = at::detail::make_tensor<c10::TensorImpl>(
        c10::Storage(storage), DispatchKeySet(key), like.dtype());
    made.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides(),
                                                      like.storage_offset());
    return made;
  }

  // Host memory as memory of the device, for as long as somebody uses it.
  static c10::DataPtr adopt(const c10::Storage& storage) {
    void* memory = const_cast<void*>(storage.data());
    auto* owner = new c10::Storage(storage);
    return {memory, owner, [](void* owner) { delete static_cast<c10::Storage*>(owner); }, DEVICE};
  }

  std::unordered_map<c10::StorageImpl*, c10::Storage> hosts_;
  std::unordered_map<c10::StorageImpl*, c10::Storage> devices_;
  std::vector<std::pair<at::Tensor, at::Tensor>> tensors_;
  std::vector<at::Tensor> kept_;
};

// Applies `f` to a tensor or to each tensor of a list, in place.
template <typename F>
void for_tensors(IValue& value, const F& f) {
  if (value.isTensor()) {
    at::Tensor made = f(value.toTensor());
    value = IValue(std::move(made));
  } else if (value.isList()) {
    c10::List<IValue> old = value.toList();
    auto type = old.elementType();
    const bool optional = type->kind() == c10::TypeKind::OptionalType;
    auto inner = optional ? type->castRaw<c10::OptionalType>()->getElementType() : type;
    if (inner->kind() != c10::TypeKind::TensorType) return;
    c10::impl::GenericList made(type);
    for (const IValue& element : old) {
      IValue copy = element;
      for_tensors(copy, f);
      made.push_back(std::move(copy));
    }
    value = IValue(std::move(made));
  }
}

void check_devices(const Operation& operation, const OperatorHandle& handle, const Stack& stack,
                   size_t first) {
  bool uploads = false, mask = false;
  for (size_t i = first; i < stack.size(); ++i) {
    const std::string& argument = handle.schema().arguments()[i - first].name();
    const bool is_rows = operation.takes_rows && argument == "indices";
    IValue value = stack[i];
    for_tensors(value, [&](const at::Tensor& tensor) {
      if (!tensor.defined()) return tensor;
      if (is_rows && tensor.scalar_type() == at::kBool) mask = true;
      if (tensor.device().is_cuda()) return tensor;
      const bool is_number = tensor.dim() == 0 && !operation.refuses;
      TORCH_CHECK(tensor.device().is_cpu() && (is_number || is_rows),
                  "Expected all tensors to be on the same device, but got ", argument, " is on ",
                  tensor.device(), ", different from other tensors on cuda:0 (when checking ",
                  "argument in method ", operation.name, ")");
      uploads |= is_rows || operation.uploads_numbers;
      return tensor;
    });
  }
  const bool put = operation.takes_rows && operation.name[0] == '_';
  if (uploads && (put || operation.uploads_numbers)) counts().add(operation.name, Event::Upload);
  if (mask && put) counts().add(operation.name, Event::Wait);
}

// Returns whether the results are views of the arguments, or one of them unchanged.
bool run_on_host(const Operation& operation, const OperatorHandle& handle, Stack* stack) {
  const size_t first = stack->size() - handle.schema().arguments().size();
  check_devices(operation, handle, *stack, first);
  Call call;
  for (size_t i = first; i < stack->size(); ++i) {
    IValue& value = (*stack)[i];
    for_tensors(value, [&](const at::Tensor& tensor) {
      return is_on_device(tensor) ? call.to_host(tensor) : tensor;
    });
    const c10::Argument& argument = handle.schema().arguments()[i - first];
    const auto& type = argument.type();
    if (value.isDevice()) {
      value = IValue(c10::Device(DeviceType::CPU));
    } else if (has_own_generator() && value.isNone() &&
               type->isSubtypeOf(*c10::OptionalType::create(c10::GeneratorType::get()))) {
      value = IValue(generator());
    }
  }
  {
    at::AutoDispatchBelowADInplaceOrView below;
    handle.redispatchBoxed(DispatchKeySet(DispatchKey::CPU), stack);
  }
  call.carry_back();
  bool is_view = !handle.schema().is_mutable();
  const size_t results = handle.schema().returns().size();
  is_view &= results > 0;
  for (size_t i = stack->size() - results; i < stack->size(); ++i) {
    is_view &= (*stack)[i].isTensor() || (*stack)[i].isList();
    for_tensors((*stack)[i],
                [&](const at::Tensor& tensor) { return call.to_device(tensor, is_view); });
  }
  return is_view;
}

void operation_of_the_device(const OperatorHandle& handle, Stack* stack) {
  const Operation& operation = describe(handle);
  TORCH_CHECK_NOT_IMPLEMENTED(operation.has_kernel, "Could not run 'aten::", operation.name,
                              "' with arguments from the 'CUDA' backend: it has no CUDA kernel");
  const bool is_view = run_on_host(operation, handle, stack);
  if (!is_view && !operation.is_free) counts().add(operation.name, Event::Launch);
  if (operation.waits) counts().add(operation.name, Event::Wait);
}

// ---- operations of their own ----

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> kind,
                 std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &device_memory, DispatchKeySet(DispatchKey::CUDA),
                                   c10::dtype_or_default(kind), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride,
                         std::optional<at::ScalarType> kind, std::optional<at::Layout>,
                         std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &device_memory,
                                           DispatchKeySet(DispatchKey::CUDA),
                                           c10::dtype_or_default(kind));
}

at::Tensor& copy_(at::Tensor& self, const at::Tensor& source, bool non_blocking) {
  if (self.is_same(source)) return self;
  const bool to_device = is_on_device(self), from_device = is_on_device(source);
  if (to_device && from_device) {
    counts().add("copy_", Event::Launch);
  } else if (to_device) {
    // Memory that is not pinned is copied through a buffer, for which the driver may wait.
    const bool quiet = non_blocking && PinnedMemory::holds(source.storage().data());
    counts().add("copy_", quiet ? Event::QuietUpload : Event::Upload);
  } else if (!non_blocking || !PinnedMemory::holds(self.storage().data())) {
    counts().add("copy_", Event::Wait);
  }
  Call call;
  at::Tensor to = to_device ? call.to_host(self) : self;
  at::Tensor from = from_device ? call.to_host(source) : source;
  at::AutoDispatchBelowADInplaceOrView below;
  to.copy_(from);
  return self;
}

at::Scalar local_scalar_dense(const at::Tensor& self) {
  counts().add("_local_scalar_dense", Event::Wait);
  Call call;
  at::AutoDispatchBelowADInplaceOrView below;
  return at::_local_scalar_dense(call.to_host(self));
}

// Attention is one fused kernel where the CPU has one, which runs in its place.
int64_t choose_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         const std::optional<at::Tensor>& mask, double dropout, bool is_causal,
                         std::optional<double> scale, bool grouped) {
  Call call;
  at::AutoDispatchBelowADInplaceOrView below;
  const auto on_host = [&](const at::Tensor& tensor) {
    return call.to_host(tensor).set_requires_grad(tensor.requires_grad());
  };
  std::optional<at::Tensor> host_mask;
  if (mask.has_value() && mask->defined()) host_mask = on_host(*mask);
  const int64_t choice = at::_fused_sdp_choice(on_host(query), on_host(key), on_host(value),
                                               host_mask, dropout, is_causal, scale, grouped);
  const auto flash = static_cast<int64_t>(at::SDPBackend::flash_attention);
  return choice == flash ? static_cast<int64_t>(at::SDPBackend::efficient_attention) : choice;
}

using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

std::optional<at::Tensor> to_host_if_any(Call& call, const std::optional<at::Tensor>& tensor) {
  if (!tensor.has_value() || !is_on_device(*tensor)) return std::nullopt;
  return call.to_host(*tensor);
}

Four attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
               const std::optional<at::Tensor>& bias, bool, double dropout, bool is_causal,
               std::optional<double> scale) {
  counts().add("_scaled_dot_product_efficient_attention", Event::Launch);
  Call call;
  at::AutoDispatchBelowADInplaceOrView below;
  auto [result, log_sum] = at::_scaled_dot_product_flash_attention_for_cpu(
      call.to_host(query), call.to_host(key), call.to_host(value), dropout, is_causal,
      to_host_if_any(call, bias), scale);
  bool is_view = false;
  at::Tensor seed = at::empty({}, query.options().dtype(at::kLong));
  return {call.to_device(result, is_view), call.to_device(log_sum, is_view), seed, seed};
}

Four attention_backward(const at::Tensor& gradient, const at::Tensor& query, const at::Tensor& key,
                        const at::Tensor& value, const at::Tensor& bias, const at::Tensor& result,
                        const at::Tensor& log_sum, const at::Tensor&, const at::Tensor&,
                        double dropout, std::array<bool, 4> wanted, bool is_causal,
                        std::optional<double> scale) {
  if (!gradient.defined()) return {};
  TORCH_CHECK(!wanted[3], "the stand-in has no gradient of attention by its bias");
  counts().add("_scaled_dot_product_efficient_attention_backward", Event::Launch);
  Call call;
  at::AutoDispatchBelowADInplaceOrView below;
  auto [of_query, of_key, of_value] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      call.to_host(gradient), call.to_host(query), call.to_host(key), call.to_host(value),
      call.to_host(result), call.to_host(log_sum), dropout, is_causal, to_host_if_any(call, bias),
      scale);
  bool is_view = false;
  return {call.to_device(of_query, is_view), call.to_device(of_key, is_view),
          call.to_device(of_value, is_view), at::Tensor()};
}

// ---- registration ----

// libtorch has general kernels, made of several operations, for some that are one kernel on a GPU.
void prefer_kernels(torch::Library& library) {
  auto& dispatcher = c10::Dispatcher::singleton();
  const std::unordered_set<std::string> own = {"copy_", "empty_strided", "set_"};
  std::unordered_set<c10::OperatorName> on_cpu;
  for (const auto& name : dispatcher.getRegistrationsForDispatchKey(DispatchKey::CPU)) {
    on_cpu.insert(name);
  }
  for (DispatchKey key :
       {DispatchKey::CompositeExplicitAutograd, DispatchKey::CompositeImplicitAutograd}) {
    for (const auto& name : dispatcher.getRegistrationsForDispatchKey(key)) {
      const auto handle = dispatcher.findSchema(name);
      if (!handle.has_value() || name.name.rfind("aten::", 0) != 0) continue;
      const Operation& operation = describe(*handle);
      if (!operation.has_kernel || own.count(name.name.substr(6)) > 0) continue;
      // An overload that only calls another one has no kernel, and its gradient is the other's.
      if (key == DispatchKey::CompositeImplicitAutograd && on_cpu.count(name) == 0) continue;
      library.impl(operation.name.c_str(),
                   torch::CppFunction::makeFromBoxedFunction<&operation_of_the_device>());
    }
  }
}

TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&operation_of_the_device>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("copy_", &copy_);
  library.impl("_local_scalar_dense", &local_scalar_dense);
  library.impl("set_", &at::native::set_cpu_);
  library.impl("set_.source_Storage", &at::native::set_);
  library.impl("set_.source_Storage_storage_offset", &at::native::set_storage_cpu_);
  library.impl("set_.source_Tensor", &at::native::set_tensor_);
  at::native::_fused_sdp_choice_stub.set_cuda_dispatch_ptr(&choose_attention);
  library.impl("_scaled_dot_product_efficient_attention", &attention);
  library.impl("_scaled_dot_product_efficient_attention_backward", &attention_backward);
  prefer_kernels(library);
}

C10_REGISTER_GUARD_IMPL(CUDA, Guard)

struct Register {
  Register() { c10::SetAllocator(DeviceType::CUDA, &device_memory); }
} registered;

}  // namespace

namespace at {
using IsotropyHooks = Hooks;
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, IsotropyHooks)
}  // namespace at
