// A pretended CUDA device for a build of torch without CUDA: memory of device type "cuda" that lies in main
// memory, and every operation done by the CPU's kernel. What a GPU refuses is refused: operations over tensors
// of both kinds, and within a captured graph all that waits for the GPU or copies from or to the CPU.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/extension.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace {

using at::Tensor;
using c10::Device;
using c10::DeviceType;
using c10::Stream;

const Device kGpu(DeviceType::CUDA, 0);

Stream the_stream() { return Stream(Stream::DEFAULT, kGpu); }

// One device, one stream, on which everything is done at once.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  DeviceType type() const override { return DeviceType::CUDA; }
  Device exchangeDevice(Device) const override { return kGpu; }
  Device getDevice() const override { return kGpu; }
  void setDevice(Device) const override {}
  void uncheckedSetDevice(Device) const noexcept override {}
  Stream getStream(Device) const override { return the_stream(); }
  Stream getDefaultStream(Device) const override { return the_stream(); }
  Stream getNewStream(Device, int) const override { return the_stream(); }
  Stream getStreamFromGlobalPool(Device, bool) const override { return the_stream(); }
  Stream exchangeStream(Stream) const override { return the_stream(); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream&) const override {}
  void synchronizeEvent(void*) const override {}
  void synchronizeDevice(const c10::DeviceIndex) const override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(CUDA, Guard);

struct Allocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* place = std::malloc(bytes ? bytes : 1);
    return {place, place, &std::free, kGpu};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};
Allocator allocator;
REGISTER_ALLOCATOR(DeviceType::CUDA, &allocator);

struct Hooks final : at::CUDAHooksInterface {
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isAvailable() const override { return true; }
  bool isBuilt() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  bool isPinnedPtr(const void*) const override { return true; }
  c10::Allocator* getPinnedMemoryAllocator() const override { return c10::GetAllocator(DeviceType::CPU); }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    static at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(1234);
    return generator;
  }
};

// A captured graph: operations with the very tensors they had, done again into the very results they gave.
struct Graph {
  std::vector<std::function<void()>> steps;
};
thread_local Graph* capturing = nullptr;

void refuse_within_capture(const std::string& what) {
  TORCH_CHECK(!capturing, "pretended GPU: ", what, " within the capture of a graph");
}

// A CPU tensor over the same memory.
Tensor on_cpu(const Tensor& t) {
  if (!t.is_cuda()) return t;
  auto storage = t.storage();
  auto start = const_cast<void*>(storage.data());
  auto items = static_cast<int64_t>(storage.nbytes() / t.itemsize());
  auto whole = at::from_blob(start, {items}, [storage](void*) {}, at::TensorOptions().dtype(t.scalar_type()));
  return whole.as_strided(t.sizes(), t.strides(), t.storage_offset());
}

Tensor empty(c10::SymIntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
             std::optional<Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  auto keys = c10::DispatchKeySet(c10::DispatchKey::CUDA);
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), &allocator, keys, c10::dtype_or_default(type), format);
}

Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> type,
                     std::optional<at::Layout>, std::optional<Device>, std::optional<bool>) {
  auto keys = c10::DispatchKeySet(c10::DispatchKey::CUDA);
  return at::detail::empty_strided_generic(size, stride, &allocator, keys, c10::dtype_or_default(type));
}

Tensor& copy_(Tensor& self, const Tensor& from, bool) {
  at::NoGradGuard no_grad;
  auto to = on_cpu(self), source = on_cpu(from);
  if (capturing) {
    if (!self.is_cuda() || !from.is_cuda()) refuse_within_capture("a copy between CPU and GPU");
    capturing->steps.push_back([to, source] {
      c10::InferenceMode mode;
      to.copy_(source);
    });
  }
  to.copy_(source);
  return self;
}

Tensor copy_from(const Tensor& self, const Tensor& to, bool) {
  refuse_within_capture("a copy between CPU and GPU");
  on_cpu(to).copy_(on_cpu(self));
  return to;
}

Tensor copy_from_and_resize(const Tensor& self, const Tensor& to) {
  to.resize_(self.sizes());
  return copy_from(self, to, false);
}

at::Scalar local_scalar(const Tensor& t) {
  refuse_within_capture("item()");
  return on_cpu(t).item();
}

const Tensor& resize_(const Tensor& self, c10::SymIntArrayRef size, std::optional<at::MemoryFormat>) {
  auto impl = self.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(C10_AS_INTARRAYREF_SLOW(size));
  auto storage = impl->storage().unsafeGetStorageImpl();
  size_t needed = (impl->numel() + impl->storage_offset()) * impl->itemsize();
  if (needed > storage->nbytes()) {
    auto larger = allocator.allocate(needed);
    if (storage->nbytes()) std::memcpy(larger.get(), storage->data(), storage->nbytes());
    storage->set_data_ptr_noswap(std::move(larger));
    storage->set_nbytes(needed);
  }
  return self;
}

Tensor& set_storage(Tensor& self, at::Storage storage, c10::SymInt offset, c10::SymIntArrayRef size,
                    c10::SymIntArrayRef stride) {
  auto impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(storage);
  impl->set_sizes_and_strides(C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride),
                              offset.guard_int(__FILE__, __LINE__));
  return self;
}

Tensor as_strided(const Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
                  std::optional<c10::SymInt> offset) {
  auto from = offset ? std::optional<int64_t>(offset->guard_int(__FILE__, __LINE__)) : std::nullopt;
  return at::native::as_strided_tensorimpl(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), from);
}

Tensor view(const Tensor& self, c10::SymIntArrayRef size) {
  return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size));
}

Tensor reshape_alias(const Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride) {
  return at::native::_reshape_alias(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride));
}

Tensor unfold(const Tensor& self, int64_t dimension, int64_t size, int64_t step) {
  return at::native::unfold(self, dimension, size, step);
}

// Attention by plain products: there is no fused kernel here.
int64_t sdp_choice(const Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&, double, bool,
                   std::optional<double>, bool) {
  return 0;
}

// Operations that take indices on the CPU beside values on the GPU there too.
const std::set<std::string> kMixed = {"aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_",
                                      "aten::index_put"};
// Operations whose result's size depends on values, which the CPU waits for.
const std::set<std::string> kWaiting = {"aten::nonzero", "aten::masked_select", "aten::equal", "aten::_unique2"};

void refuse_cpu(const std::string& name, const Tensor& t) {
  TORCH_CHECK(!t.defined() || t.is_cuda() || t.dim() == 0, "pretended GPU: ", name, " got a tensor of shape ",
              t.sizes(), " on the CPU beside one on the GPU");
}

void refuse_cpu(const std::string& name, const c10::IValue& value) {
  if (value.isTensor()) {
    refuse_cpu(name, value.toTensor());
  } else if (value.isTensorList()) {
    for (const Tensor& one : value.toTensorVector()) refuse_cpu(name, one);
  } else if (value.isOptionalTensorList()) {
    for (const auto& one : value.toOptionalTensorVector())
      if (one) refuse_cpu(name, *one);
  }
}

void record(const c10::OperatorHandle& op, const std::vector<c10::IValue>& in, const std::vector<c10::IValue>& out) {
  capturing->steps.push_back([op, in, out] {
    c10::InferenceMode mode;
    torch::jit::Stack again(in.begin(), in.end());
    at::native::cpu_fallback(op, &again, false);
    for (size_t i = 0; i < out.size(); i++) {
      if (!out[i].isTensor() || !out[i].toTensor().defined()) continue;
      auto given = out[i].toTensor(), made = again[i].toTensor();
      if (!given.is_same(made)) on_cpu(given).copy_(on_cpu(made));
    }
  });
}

void by_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  auto id = op.schema().operator_name();
  auto name = id.overload_name.empty() ? id.name : id.name + "." + id.overload_name;
  auto arguments = torch::jit::last(stack, op.schema().arguments().size());
  if (!kMixed.count(name))
    for (const auto& one : arguments) refuse_cpu(name, one);
  if (!capturing) return at::native::cpu_fallback(op, stack, false);
  if (kWaiting.count(name)) refuse_within_capture(name);
  std::vector<c10::IValue> in(arguments.begin(), arguments.end());
  auto graph = capturing;
  capturing = nullptr;  // the copies that the fallback makes are its own
  try {
    at::native::cpu_fallback(op, stack, false);
  } catch (...) {
    capturing = graph;
    throw;
  }
  capturing = graph;
  auto results = torch::jit::last(stack, op.schema().returns().size());
  record(op, in, std::vector<c10::IValue>(results.begin(), results.end()));
}

}  // namespace

TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&by_cpu>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("copy_", copy_);
  library.impl("_copy_from", copy_from);
  library.impl("_copy_from_and_resize", copy_from_and_resize);
  library.impl("_local_scalar_dense", local_scalar);
  library.impl("resize_", resize_);
  library.impl("set_.source_Storage_storage_offset", set_storage);
  library.impl("as_strided", as_strided);
  library.impl("view", view);
  library.impl("_reshape_alias", reshape_alias);
  library.impl("unfold", unfold);
  library.impl("_fused_sdp_choice", sdp_choice);
}

PYBIND11_MODULE(pretended_gpu_device, module) {
  // torch asked for its hooks long ago and keeps the object that says "no CUDA"; it gets the methods of ours.
  auto& present = const_cast<at::CUDAHooksInterface&>(at::detail::getCUDAHooks());
  *reinterpret_cast<void**>(&present) = *reinterpret_cast<void**>(new Hooks());
  module.def("is_capturing", [] { return capturing != nullptr; });
  pybind11::class_<Graph>(module, "Graph")
      .def(pybind11::init<>())
      .def("begin", [](Graph& graph) { capturing = &graph; })
      .def("end", [](Graph&) { capturing = nullptr; })
      .def("replay", [](Graph& graph) {
        TORCH_CHECK(!graph.steps.empty(), "pretended GPU: this graph captured nothing");
        for (auto& step : graph.steps) step();
      });
}
