"""libcqcodec through ctypes, which releases the GIL in every call. The contract of each function stands in qcodec.h."""

from __future__ import annotations

import ctypes as c
import os
import pathlib
from typing import TYPE_CHECKING, Any

from ._errors import QCodecError, error_type

ABI_VERSION = 1

Handle = c.c_void_p
Status = c.c_int32
Text = c.POINTER(c.c_char)
WriteFunction = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.c_void_p, c.c_size_t)
ReadFunction = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.c_uint64, c.c_void_p, c.c_size_t)


class Measured(c.Structure):
    _fields_ = [
        ("max_abs_error", c.c_double),
        ("max_scaled_error", c.c_double),
        ("rel_l2_error", c.c_double),
        ("guaranteed_max_abs_error", c.c_double),
        ("guaranteed_max_rel_error", c.c_double),
        ("zeros_created", c.c_uint64),
        ("sign_changes", c.c_uint64),
    ]


class WriterOptions(c.Structure):
    _fields_ = [
        ("struct_size", c.c_size_t),
        ("compression", c.c_int32),
        ("zstd_level", c.c_int32),
        ("threads", c.c_int32),
        ("keep_nonfinite", c.c_int32),
        ("measure_epsilon", c.c_double),
        ("base", Handle),
        ("base_name", c.c_char_p),
        ("bound", c.c_int32),
        ("bound_is_of_rms", c.c_int32),
        ("bound_value", c.c_double),
        ("bound_epsilon", c.c_double),
    ]


class Tensor(c.Structure):
    _fields_ = [
        ("name", c.c_char_p),
        ("dtype", c.c_int32),
        ("role", c.c_int32),
        ("shape", c.POINTER(c.c_uint64)),
        ("dims", c.c_size_t),
        ("data", c.c_void_p),
        ("size", c.c_uint64),
        ("read", ReadFunction),
        ("context", c.c_void_p),
    ]


class Written(c.Structure):
    _fields_ = [
        ("file_bytes", c.c_uint64),
        ("stored_bytes", c.c_uint64),
        ("source_bytes", c.c_uint64),
        ("tensors", c.c_uint64),
        ("elements", c.c_uint64),
    ]


class Flattened(c.Structure):
    _fields_ = [
        ("input_bytes", c.c_uint64),
        ("output_bytes", c.c_uint64),
        ("chunks", c.c_uint64),
        ("base_chunks", c.c_uint64),
        ("difference_chunks", c.c_uint64),
        ("bases", c.c_uint64),
    ]


class TensorInfo(c.Structure):
    _fields_ = [
        ("dtype", c.c_int32),
        ("role", c.c_int32),
        ("is_quantized", c.c_int32),
        ("dims", c.c_uint32),
        ("shape", c.c_uint64 * 32),
        ("elements", c.c_uint64),
        ("source_bytes", c.c_uint64),
        ("stored_bytes", c.c_uint64),
        ("second_moment", c.c_int64),
        ("measured", Measured),
    ]


class ReadRequest(c.Structure):
    _fields_ = [("tensor", c.c_size_t), ("target", c.c_void_p), ("size", c.c_size_t)]


class VerifyOptions(c.Structure):
    _fields_ = [
        ("struct_size", c.c_size_t),
        ("max_rel_l2", c.c_double),
        ("max_abs", c.c_double),
        ("max_update_error", c.c_double),
        ("max_update_abs", c.c_double),
        ("epsilon", c.c_double),
        ("threads", c.c_int32),
    ]


class StepOptions(c.Structure):
    _fields_ = [
        ("struct_size", c.c_size_t),
        ("rule", c.c_int32),
        ("is_decoupled", c.c_int32),
        ("is_amsgrad", c.c_int32),
        ("is_nesterov", c.c_int32),
        ("is_maximizing", c.c_int32),
        ("is_checked", c.c_int32),
        ("step", c.c_uint64),
        ("gradient_factor", c.c_double),
        ("learning_rate", c.c_double),
        ("beta1", c.c_double),
        ("beta2", c.c_double),
        ("epsilon", c.c_double),
        ("weight_decay", c.c_double),
        ("momentum", c.c_double),
        ("dampening", c.c_double),
        ("alpha", c.c_double),
        ("learning_rate_decay", c.c_double),
        ("trust_coefficient", c.c_double),
    ]


class OptimizerTensor(c.Structure):
    _fields_ = [
        ("name", c.c_char_p),
        ("shape", c.POINTER(c.c_uint64)),
        ("dims", c.c_size_t),
        ("parameter_dtype", c.c_int32),
        ("gradient_dtype", c.c_int32),
        ("parameters", c.c_void_p),
        ("gradients", c.c_void_p),
        ("first_scheme", Handle),
        ("second_scheme", Handle),
        ("second_is_factored", c.c_int32),
        ("first", c.c_void_p),
        ("second", c.c_void_p),
        ("greatest", c.c_void_p),
        ("first_size", c.c_size_t),
        ("second_size", c.c_size_t),
        ("greatest_size", c.c_size_t),
    ]


_ERROR = c.POINTER(Handle)
_OUT = c.POINTER(Handle)
_STRING = c.POINTER(Text)
_SHAPE = c.POINTER(c.c_uint64)
_SCHEMED = [Handle, c.c_int32, _SHAPE, c.c_size_t]

# Parameters of the functions that return a status; all of them take a place for an error last.
_FALLIBLE: dict[str, list[Any]] = {
    "cancellation_create": [_OUT],
    "scheme_create_custom": [c.c_void_p, c.c_size_t, c.c_int32, c.c_int32, c.c_int32, c.c_uint32, _OUT],
    "scheme_parse": [c.c_char_p, _OUT],
    "scheme_text": [Handle, _STRING],
    "encoded_size": [*_SCHEMED, c.POINTER(c.c_size_t)],
    "encode": [
        *_SCHEMED, c.c_char_p, c.c_void_p, c.c_size_t, c.c_void_p, c.c_size_t, c.c_int32, c.POINTER(Measured),
    ],
    "decode": [*_SCHEMED, c.c_void_p, c.c_size_t, c.c_void_p, c.c_size_t, c.c_int32],
    "decode_rows": [
        *_SCHEMED, c.c_void_p, c.c_size_t, c.c_uint64, c.c_uint64, c.c_void_p, c.c_size_t, c.c_int32,
    ],
    "decode_first_moment": [
        Handle, Handle, _SHAPE, c.c_size_t, c.c_void_p, c.c_size_t, c.c_void_p, c.c_size_t, c.c_void_p, c.c_size_t, c.c_int32,
    ],
    "moment_sizes": [c.POINTER(StepOptions), c.POINTER(OptimizerTensor), c.POINTER(c.c_size_t)],
    "moments_clear": [c.POINTER(StepOptions), c.POINTER(OptimizerTensor)],
    "optimizer_check": [c.POINTER(StepOptions), c.POINTER(OptimizerTensor), c.c_size_t, c.c_int32],
    "optimizer_step": [c.POINTER(StepOptions), c.POINTER(OptimizerTensor), c.c_size_t, c.c_int32],
    "squared_norm": [c.c_int32, c.c_void_p, c.c_size_t, c.c_int32, c.POINTER(c.c_double)],
    "policy_preset": [c.c_char_p, _OUT],
    "policy_parse": [c.c_char_p, c.c_size_t, _OUT],
    "policy_text": [Handle, _STRING],
    "policy_moment_schemes": [Handle, c.POINTER(StepOptions), c.POINTER(OptimizerTensor), _OUT, _OUT],
    "writer_create": [c.c_char_p, c.POINTER(WriterOptions), _OUT],
    "writer_create_function": [WriteFunction, c.c_void_p, c.POINTER(WriterOptions), _OUT],
    "writer_set_metadata": [Handle, c.c_char_p, c.c_size_t],
    "writer_set_member": [Handle, c.c_char_p, c.c_char_p, c.c_size_t],
    "writer_add": [Handle, c.POINTER(Tensor), c.c_size_t, Handle, c.c_void_p],
    "writer_add_tensor": [Handle, c.POINTER(Tensor), Handle],
    "writer_add_import": [Handle, c.POINTER(Tensor), Handle, c.c_void_p, c.c_size_t, c.c_void_p, c.c_size_t],
    "writer_add_stream": [
        Handle, c.POINTER(Tensor), Handle, c.c_void_p, c.c_size_t, c.POINTER(Tensor), Handle, c.c_void_p, c.c_size_t,
    ],
    "writer_commit": [Handle, c.POINTER(Written)],
    "reader_open_fd_at": [c.c_int32, c.c_char_p, _OUT],
    "reader_with_base": [Handle, Handle, _OUT],
    "reader_base": [Handle, _STRING],
    "reader_open_function": [ReadFunction, c.c_void_p, c.c_uint64, _OUT],
    "reader_info": [Handle, c.c_size_t, c.POINTER(TensorInfo)],
    "reader_scheme": [Handle, c.c_size_t, _OUT],
    "reader_read": [Handle, c.POINTER(ReadRequest), c.c_size_t, c.c_int32],
    "reader_read_rows": [Handle, c.c_size_t, c.c_uint64, c.c_uint64, c.c_void_p, c.c_size_t, c.c_int32],
    "reader_code_sizes": [Handle, c.c_size_t, c.POINTER(c.c_size_t), c.POINTER(c.c_size_t)],
    "reader_read_codes": [Handle, c.c_size_t, c.c_void_p, c.c_size_t, c.c_void_p, c.c_size_t, c.c_int32],
    "reader_read_stream": [Handle, c.c_size_t, c.c_void_p, c.c_size_t, c.c_int32],
    "reader_member": [Handle, c.c_char_p, _STRING, c.POINTER(c.c_size_t)],
    "reader_summary": [Handle, _STRING],
    "flatten": [Handle, c.c_char_p, c.c_int32, c.POINTER(Flattened)],
    "flatten_function": [Handle, WriteFunction, c.c_void_p, c.c_int32, c.POINTER(Flattened)],
    "verify": [Handle, c.c_char_p, c.POINTER(VerifyOptions), _STRING],
    "verify_tensors": [Handle, c.POINTER(Tensor), c.c_size_t, c.POINTER(VerifyOptions), _STRING],
}

_OTHERS: dict[str, tuple[list[Any], Any]] = {
    "abi_version": ([], c.c_uint32),
    "version": ([], c.c_char_p),
    "available_threads": ([], c.c_int32),
    "error_code": ([Handle], Status),
    "error_message": ([Handle], c.c_char_p),
    "error_description": ([Handle], c.c_char_p),
    "error_tensor": ([Handle], c.c_char_p),
    "error_offset": ([Handle, c.POINTER(c.c_uint64)], c.c_int32),
    "error_element": ([Handle, c.POINTER(c.c_uint64)], c.c_int32),
    "error_free": ([Handle], None),
    "string_free": ([Text], None),
    "cancellation_use": ([Handle], None),
    "cancellation_cancel": ([Handle], None),
    "cancellation_free": ([Handle], None),
    "scheme_table": ([Handle, c.c_void_p, c.c_size_t], c.c_size_t),
    "scheme_free": ([Handle], None),
    "step_options_init": ([c.POINTER(StepOptions), c.c_int32], None),
    "policy_free": ([Handle], None),
    "writer_options_init": ([c.POINTER(WriterOptions)], None),
    "writer_abort": ([Handle], None),
    "writer_free": ([Handle], None),
    "reader_count": ([Handle], c.c_size_t),
    "reader_find": ([Handle, c.c_char_p], c.c_int64),
    "reader_name": ([Handle, c.c_size_t, c.c_char_p, c.c_size_t], c.c_size_t),
    "reader_free": ([Handle], None),
    "verify_options_init": ([c.POINTER(VerifyOptions)], None),
}


def _path() -> str:
    """The library of this wheel, of an enclosing checkout, or the one that QCODEC_LIBRARY names."""
    if named := os.environ.get("QCODEC_LIBRARY"):
        return named
    here = pathlib.Path(__file__).resolve().parent
    candidates = [here / "libcqcodec.so"]
    if len(here.parents) > 3:
        candidates.append(here.parents[3] / ".build" / "library" / "release" / "libcqcodec.so")
    for candidate in candidates:
        if candidate.is_file():
            return str(candidate)
    raise ImportError(
        f"qcodec: there is no libcqcodec.so at {candidates[0]}; install the package with pip, or run `make library` in the "
        "checkout, or set QCODEC_LIBRARY"
    )


class _Library:
    """The functions, without their prefix; those that can fail raise."""

    def __init__(self) -> None:
        self._library = c.CDLL(_path())
        for name, (parameters, result) in _OTHERS.items():
            function = getattr(self._library, f"qcodec_{name}")
            function.argtypes, function.restype = parameters, result
            setattr(self, name, function)
        if self.abi_version() != ABI_VERSION:
            raise ImportError(f"qcodec: {_path()} has ABI {self.abi_version()}, this package needs {ABI_VERSION}")
        for name, wanted in _FALLIBLE.items():
            function = getattr(self._library, f"qcodec_{name}")
            function.argtypes, function.restype = [*wanted, _ERROR], Status
            setattr(self, name, self._checked(function))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def _checked(self, function):
        def call(*arguments):
            error = Handle()
            if function(*arguments, c.byref(error)):
                raise self._error(error)

        return call

    def _error(self, error: Handle) -> QCodecError:
        try:
            code = self.error_code(error)
            tensor = self.error_tensor(error)
            number = c.c_uint64()
            element = number.value if self.error_element(error, c.byref(number)) else None
            offset = number.value if self.error_offset(error, c.byref(number)) else None
            return error_type(code)(
                self.error_message(error).decode(),
                code,
                tensor=None if tensor is None else tensor.decode(),
                element=element,
                offset=offset,
                description=self.error_description(error).decode(),
            )
        finally:
            self.error_free(error)

    def text(self, function: Any, *arguments: Any) -> str:
        """What a function gives through its `char **` after these arguments."""
        string = Text()
        function(*arguments, c.byref(string))
        try:
            return (c.cast(string, c.c_char_p).value or b"").decode()
        finally:
            self.string_free(string)

    def handle(self, function: Any, *arguments: Any) -> Any:
        """What a function gives through its place for a handle after these arguments."""
        handle = Handle()
        function(*arguments, c.byref(handle))
        return handle


lib = _Library()


def shape_argument(shape):
    """A shape as C has it."""
    return (c.c_uint64 * len(shape))(*shape)
