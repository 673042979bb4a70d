"""Small stand-ins for the headers of TFLM, which its wheel has not: what the generated sources include and call."""

from __future__ import annotations

from pathlib import Path

HEADERS = {
    "tensorflow/lite/c/common.h": """
#pragma once
#include <cstddef>
#include <cstdint>
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteFloat32 = 1, kTfLiteInt32 = 2, kTfLiteUInt8 = 3, kTfLiteInt16 = 7, kTfLiteInt8 = 9 };
union TfLitePtrUnion { int8_t* int8; uint8_t* uint8; int16_t* i16; int32_t* i32; float* f; };
struct TfLiteTensor { TfLiteType type; TfLitePtrUnion data; };
struct TFLMRegistration {};
""",
    "tensorflow/lite/schema/schema_generated.h": """
#pragma once
#define TFLITE_SCHEMA_VERSION 3
namespace tflite {
struct Model { int version() const { return 3; } };
inline const Model* GetModel(const void* data) { return reinterpret_cast<const Model*>(data); }
}
""",
    "tensorflow/lite/micro/kernels/micro_ops.h": """
#pragma once
#include "tensorflow/lite/c/common.h"
namespace tflite { inline TFLMRegistration* Register_DECODE() { static TFLMRegistration one; return &one; } }
""",
    "tensorflow/lite/micro/micro_log.h": """
#pragma once
#include <cstdarg>
#include <cstdio>
inline void MicroPrintf(const char* format, ...) {
  std::va_list given;
  va_start(given, format);
  std::vprintf(format, given);
  va_end(given);
}
""",
    "tensorflow/lite/micro/micro_mutable_op_resolver.h": """
#pragma once
#include "tensorflow/lite/c/common.h"
namespace tflite {
template <unsigned int kOps>
class MicroMutableOpResolver {
 public:
  TfLiteStatus AddConv2D() { return Add(); }
  TfLiteStatus AddDepthwiseConv2D() { return Add(); }
  TfLiteStatus AddFullyConnected() { return Add(); }
  TfLiteStatus AddMean() { return Add(); }
  TfLiteStatus AddCustom(const char*, TFLMRegistration*) { return Add(); }
  unsigned int added = 0;

 private:
  TfLiteStatus Add() { return ++added <= kOps ? kTfLiteOk : kTfLiteError; }
};
}
""",
    "tensorflow/lite/micro/micro_interpreter.h": """
#pragma once
#include "model_data.h"
#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"
namespace tflite {
// Its model gives the first values of its first input as its output.
class MicroInterpreter {
 public:
  template <typename Resolver>
  MicroInterpreter(const Model*, const Resolver&, uint8_t*, std::size_t) {}
  TfLiteStatus AllocateTensors() {
    for (std::size_t at = 0; at < litemill::kInputs; ++at) inputs_[at] = {kTfLiteInt8, {stored_[at]}};
    output_ = {kTfLiteInt8, {stored_[0]}};
    return kTfLiteOk;
  }
  TfLiteStatus Invoke() { return kTfLiteOk; }
  TfLiteTensor* input(std::size_t at) { return &inputs_[at]; }
  TfLiteTensor* output(std::size_t) { return &output_; }

 private:
  int8_t stored_[litemill::kInputs][1 << 16] = {};
  TfLiteTensor inputs_[litemill::kInputs];
  TfLiteTensor output_;
};
}
""",
    "harness.cc": """
// Reads raw float32 values of all inputs from stdin, and writes the stored inputs and the real outputs to stdout.
#include <cstdio>
#include "model_data.h"
#include "ops.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
namespace litemill {
TfLiteStatus Predict(tflite::MicroInterpreter& interpreter, const float* const raw[kInputs], float* outputs);
}
int main() {
  using namespace litemill;
  static float values[kInputs][1 << 16];
  const float* raw[kInputs];
  for (std::size_t at = 0; at < kInputs; ++at) {
    if (std::fread(values[at], sizeof(float), kInput[at].elements, stdin) != kInput[at].elements) return 2;
    raw[at] = values[at];
  }
  static OpResolver resolver;
  if (AddOps(resolver) != kTfLiteOk) return 3;
  static tflite::MicroInterpreter interpreter(tflite::GetModel(kModelData), resolver, nullptr, kArenaBytes);
  static float outputs[1 << 16];
  if (interpreter.AllocateTensors() != kTfLiteOk || Predict(interpreter, raw, outputs) != kTfLiteOk) return 4;
  for (std::size_t at = 0; at < kInputs; ++at) {
    std::fwrite(interpreter.input(at)->data.int8, 1, kInput[at].elements, stdout);
  }
  std::fwrite(outputs, sizeof(float), kOutput[kJudged].elements, stdout);
  return 0;
}
""",
}


def write_headers(folder: Path) -> Path:
    """Write them, and a harness that drives `Predict`, below a folder."""
    for name, text in HEADERS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
