import QCodec

/// Ends the process with a message where two things that are to agree do not: the fuzzer keeps the input.
func require(_ truth: Bool, _ message: @autoclosure () -> String) {
  if !truth { fatalError(message()) }
}

/// What a call gave, or the error that it threw; a trap is neither.
func outcome<Value>(_ body: () throws(QCodecError) -> Value) -> Result<Value, QCodecError> {
  do throws(QCodecError) { return .success(try body()) } catch { return .failure(error) }
}

extension Result {
  var value: Success? { if case .success(let value) = self { value } else { nil } }
  var error: Failure? { if case .failure(let error) = self { error } else { nil } }
  var isSuccess: Bool { value != nil }
}

/// Runs a body of which only its end matters: every error is as good as a result.
func tolerate(_ body: () throws(QCodecError) -> Void) {
  do throws(QCodecError) { try body() } catch {
    // An error has a text, whatever is in it.
    require(!error.description.isEmpty, "an error without a text")
  }
}
