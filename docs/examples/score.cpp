// Score a recording by a detector that `nes2net export --to onnx` wrote; higher means more bona fide:
//
//     ffmpeg -v error -i talk.mp3 -f f32le -ac 1 -af aresample=16000:resampler=soxr:rematrix_maxval=1 - |
//       ./score detector.onnx
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

// A number of the file's description, which is JSON; 0 for null.
static double fact(const std::string& description, const std::string& name) {
  std::smatch found;
  if (!std::regex_search(description, found, std::regex("\"" + name + "\": (null|[-+.0-9e]+)")))
    throw std::runtime_error("the file does not state " + name);
  return found[1] == "null" ? 0 : std::stod(found[1]);
}

// What the detector gets of a recording: emphasised, then cropped or repeated, as `input` of the description says.
static std::vector<float> prepared(std::vector<float> recording, const std::string& description) {
  const float coefficient = static_cast<float>(fact(description, "pre_emphasis"));
  for (size_t n = recording.size() - 1; n > 0; --n) recording[n] -= coefficient * recording[n - 1];
  size_t length = static_cast<size_t>(fact(description, "scored_samples"));
  if (length == 0) length = std::max(recording.size(), static_cast<size_t>(fact(description, "min_samples")));
  std::vector<float> waveform(length);
  for (size_t n = 0; n < length; ++n) waveform[n] = recording[n % recording.size()];
  return waveform;
}

int main(int argc, char** argv) try {
  if (argc != 2) throw std::runtime_error("usage: score detector.onnx < samples, float32 at 16 kHz");
  const std::string bytes{std::istreambuf_iterator<char>(std::cin), {}};
  std::vector<float> recording(bytes.size() / sizeof(float));
  if (recording.empty()) throw std::runtime_error("no samples on standard input");
  std::memcpy(recording.data(), bytes.data(), recording.size() * sizeof(float));

  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "score");
  Ort::Session session(env, std::filesystem::path(argv[1]).c_str(), Ort::SessionOptions());
  Ort::AllocatorWithDefaultOptions allocator;
  const auto metadata = session.GetModelMetadata().LookupCustomMetadataMapAllocated("nes2net", allocator);
  if (!metadata) throw std::runtime_error("nes2net did not write this file");
  std::vector<float> waveform = prepared(recording, metadata.get());

  const std::vector<int64_t> shape{1, static_cast<int64_t>(waveform.size())};  // batch × samples
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto input =
      Ort::Value::CreateTensor<float>(memory, waveform.data(), waveform.size(), shape.data(), shape.size());
  const char* inputs[] = {"waveform"};
  const char* outputs[] = {"scores"};
  const auto scores = session.Run(Ort::RunOptions(), inputs, &input, 1, outputs, 1);
  std::cout << scores[0].GetTensorData<float>()[0] << "\n";
} catch (const std::exception& error) {  // also Ort::Exception
  std::cerr << "score: " << error.what() << "\n";
  return 1;
}
