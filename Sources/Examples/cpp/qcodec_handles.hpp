// Handles of qcodec.h that free themselves, and statuses that become exceptions. Take it into a program of your own.

#pragma once

#include <qcodec.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace qcodec {

/// Calls the function that frees a handle.
template <auto Function>
struct Freeing {
  template <class Handle>
  void operator()(Handle *handle) const noexcept {
    Function(handle);
  }
};

using Reader = std::unique_ptr<qcodec_reader, Freeing<qcodec_reader_free>>;
using Writer = std::unique_ptr<qcodec_writer, Freeing<qcodec_writer_free>>;
using Scheme = std::unique_ptr<qcodec_scheme, Freeing<qcodec_scheme_free>>;
using Policy = std::unique_ptr<qcodec_policy, Freeing<qcodec_policy_free>>;
using Text = std::unique_ptr<char, Freeing<qcodec_string_free>>;
using ErrorHandle = std::unique_ptr<qcodec_error, Freeing<qcodec_error_free>>;

/// What a function of qcodec failed with.
class Error : public std::runtime_error {
 public:
  explicit Error(const qcodec_error *error)
      : std::runtime_error(qcodec_error_description(error)), code(qcodec_error_code(error)) {}

  const qcodec_status code;
};

/// Calls a function whose last parameter is the error: `call(qcodec_reader_info, reader.get(), 3, &info)`.
template <class Function, class... Arguments>
void call(Function function, Arguments... arguments) {
  qcodec_error *raw = nullptr;
  const qcodec_status status = function(arguments..., &raw);
  const ErrorHandle error(raw);
  if (status != QCODEC_OK) throw Error(error.get());
}

/// Calls a function that gives a handle or a string as its last result: `made<Reader>(qcodec_reader_open, path)`.
template <class Owner, class Function, class... Arguments>
Owner made(Function function, Arguments... arguments) {
  typename Owner::pointer raw = nullptr;
  call(function, arguments..., &raw);
  return Owner(raw);
}

}  // namespace qcodec
