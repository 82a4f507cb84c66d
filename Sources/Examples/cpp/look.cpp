// Lists the tensors of a checkpoint with their errors, prints rows of one, and checks every byte and guarantee.
//
//   c++ -std=c++17 look.cpp $(pkg-config --cflags --libs qcodec) -o look
//   ./look state.qckpt                       # the tensors
//   ./look state.qckpt layer.exp_avg 10 2    # rows 10 and 11 of one, which reads no more than these take
//
// Ends with status 1 where the checkpoint is not what it says.

#include "qcodec_handles.hpp"

#include <cmath>
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

static std::string name(const qcodec::Reader &reader, std::size_t tensor) {
  std::string result(qcodec_reader_name(reader.get(), tensor, nullptr, 0), '\0');
  // A string has room for the zero byte behind its last character.
  qcodec_reader_name(reader.get(), tensor, result.data(), result.size() + 1);
  return result;
}

static qcodec_tensor_info info(const qcodec::Reader &reader, std::size_t tensor) {
  qcodec_tensor_info result;
  qcodec::call(qcodec_reader_info, reader.get(), tensor, &result);
  return result;
}

static void list(const qcodec::Reader &reader) {
  for (std::size_t tensor = 0; tensor < qcodec_reader_count(reader.get()); ++tensor) {
    const qcodec_tensor_info about = info(reader, tensor);
    std::cout << name(reader, tensor) << " [";
    for (std::uint32_t axis = 0; axis < about.dims; ++axis) std::cout << (axis > 0 ? ", " : "") << about.shape[axis];
    std::cout << "] " << about.source_bytes << " bytes as " << about.stored_bytes;
    if (about.is_quantized == 0) {
      std::cout << ", lossless\n";
      continue;
    }
    std::cout << ", relative L2 error " << about.measured.rel_l2_error << ", largest error "
              << about.measured.max_abs_error;
    if (!std::isnan(about.measured.guaranteed_max_abs_error)) {
      std::cout << ", at most " << about.measured.guaranteed_max_abs_error;
    }
    std::cout << '\n';
  }
}

static void print_rows(
  const qcodec::Reader &reader, const std::string &wanted, std::uint64_t first, std::uint64_t count) {
  const std::int64_t tensor = qcodec_reader_find(reader.get(), wanted.c_str());
  if (tensor < 0) throw std::runtime_error("there is no tensor '" + wanted + "'");
  const qcodec_tensor_info about = info(reader, tensor);
  if (about.dtype != QCODEC_F32 || about.dims == 0 || about.shape[0] == 0) {
    throw std::runtime_error("'" + wanted + "' has no rows of float32");
  }
  if (count > about.shape[0]) count = about.shape[0];
  const std::uint64_t width = about.elements / about.shape[0];
  std::vector<float> values(count * width);
  qcodec::call(
    qcodec_reader_read_rows, reader.get(), std::size_t(tensor), first, count, values.data(),
    values.size() * sizeof(float), 0);
  for (std::uint64_t row = 0; row < count; ++row) {
    std::cout << first + row << ':';
    for (std::uint64_t column = 0; column < width; ++column) std::cout << ' ' << values[row * width + column];
    std::cout << '\n';
  }
}

int main(int count, char **arguments) {
  if (count != 2 && count != 5) {
    std::cerr << "usage: look FILE [TENSOR FIRST COUNT]\n";
    return 2;
  }
  try {
    const auto reader = qcodec::made<qcodec::Reader>(qcodec_reader_open, arguments[1]);
    if (count == 2) {
      list(reader);
    } else {
      print_rows(reader, arguments[2], std::stoull(arguments[3]), std::stoull(arguments[4]));
    }
    qcodec_verify_options options;
    qcodec_verify_options_init(&options);
    const char *original = nullptr;
    qcodec::made<qcodec::Text>(qcodec_verify, reader.get(), original, &options);
    std::cout << "verified\n";
  } catch (const std::exception &error) {
    std::cerr << "look: " << arguments[1] << ": " << error.what() << '\n';
    return 1;
  }
}
