import CQCodec

/// The C interface: the input is a program of calls, with good and bad arguments; handles live in a few slots.
enum InterfaceTarget {
  static func run(_ input: [UInt8]) -> Bool {
    var program = InterfaceProgram(input)
    program.run()
    return true
  }
}

/// What a program of calls works on; everything is freed at its end, so that what leaks is the library's.
struct InterfaceProgram {
  private static let slots = 3
  private static let maximumElements = 3000

  private var input: InputCursor
  private var schemes = [OpaquePointer?](repeating: nil, count: slots)
  private var policies = [OpaquePointer?](repeating: nil, count: slots)
  private var writers = [InterfaceWriter?](repeating: nil, count: slots)
  private var readers = [InterfaceReader?](repeating: nil, count: slots)

  init(_ input: [UInt8]) { self.input = InputCursor(input) }

  mutating func run() {
    for _ in 0..<40 where !input.isAtEnd { step() }
    for scheme in schemes { qcodec_scheme_free(scheme) }
    for policy in policies { qcodec_policy_free(policy) }
    for writer in writers { qcodec_writer_free(writer?.handle) }
    for reader in readers { qcodec_reader_free(reader?.handle) }
  }

  // MARK: Arguments

  private mutating func slot() -> Int { Int(input.byte()) % Self.slots }

  /// Mostly a number below `limit`, now and then any.
  private mutating func number(_ limit: Int32) -> Int32 {
    let byte = input.byte()
    return byte == 0xFF ? input.number(Int32.self) : Int32(byte) % limit
  }

  /// Text of the input, without its zero bytes and with one behind it.
  private mutating func text() -> [CChar] {
    let count = Int(input.byte())
    return input.bytes(count).filter { $0 != 0 }.map { CChar(bitPattern: $0) } + [0]
  }

  private mutating func shape() -> [UInt64] {
    var (result, count) = ([UInt64](), 1)
    for _ in 0..<Int(input.byte() % 4) {
      var length = UInt64(input.byte())
      if length == 0xFF { length = input.number() }
      result.append(length)
      count = Int(clamping: UInt64(count).multipliedReportingOverflow(by: max(length, 1)).partialValue)
    }
    return result
  }

  /// The elements of a shape, if they are few.
  private func elements(_ shape: [UInt64]) -> Int? {
    var count: UInt64 = 1
    for length in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: length)
      guard !overflow, product <= UInt64(Self.maximumElements) else { return nil }
      count = product
    }
    return Int(count)
  }

  /// What every call is held to: a status other than 0 comes with an error that says the same, and no other does.
  private func check(_ status: qcodec_status, _ error: OpaquePointer?) {
    require((status != 0) == (error != nil), "status \(status), error \(error as Any)")
    require(qcodec_error_code(error) == status, "an error of another code")
    require(qcodec_error_description(error) != nil && qcodec_error_message(error) != nil, "an error without a text")
    _ = qcodec_error_tensor(error)
    var number: UInt64 = 0
    _ = qcodec_error_offset(error, &number)
    _ = qcodec_error_element(error, &number)
    qcodec_error_free(error)
  }

  @discardableResult
  private func call(_ body: (UnsafeMutablePointer<OpaquePointer?>?) -> qcodec_status) -> Bool {
    var error: OpaquePointer?
    let status = body(&error)
    check(status, error)
    return status == 0
  }

  // MARK: Steps

  private mutating func step() {
    switch input.byte() % 20 {
    case 0, 1: createScheme()
    case 2: customScheme()
    case 3: parseScheme()
    case 4: changeScheme()
    case 5, 6: encode()
    case 7: decode()
    case 8: moments()
    case 9, 10: createPolicy()
    case 11: createWriter()
    case 12: writerText()
    case 13, 14, 15: addTensors()
    case 16: addImport()
    case 17: commit()
    case 18: openReader()
    default: read()
    }
  }

  private mutating func replace(_ slot: Int, scheme: OpaquePointer?) {
    qcodec_scheme_free(schemes[slot])
    schemes[slot] = scheme
  }

  private mutating func createScheme() {
    let (slot, map, bits) = (slot(), number(9), input.byte() & 1 == 0 ? 8 : number(9))
    let (signed, scaling, domain) = (number(2), number(6), number(3))
    let block: UInt32 = input.byte() & 1 == 0 ? 0 : 32 << UInt32(input.byte() & 15)
    var scheme: OpaquePointer?
    call { qcodec_scheme_create(map, bits, signed, scaling, block, domain, &scheme, $0) }
    replace(slot, scheme: scheme)
  }

  private mutating func customScheme() {
    let (slot, flags) = (slot(), input.byte())
    var table: [Float] = []
    let count = [16, 256, 64, 8][Int(flags & 1 | flags >> 4 & 2)]
    for index in 0..<count {
      let byte = input.byte()
      let step = (Float(index) + Float(byte) / 300) / 16
      table.append(byte == 0xFF ? Float(bitPattern: input.number(UInt32.self)) : step)
    }
    if flags & 2 == 0 { table[table.count - 1] = 1 }
    let (signed, isImport) = (Int32(flags >> 2 & 1), Int32(flags >> 3 & 1))
    let (scaling, block) = (number(6), UInt32(flags & 16) * 4)
    var scheme: OpaquePointer?
    call { qcodec_scheme_create_custom(table, table.count, signed, isImport, scaling, block, &scheme, $0) }
    replace(slot, scheme: scheme)
  }

  private mutating func parseScheme() {
    let (slot, text) = (slot(), text())
    var scheme: OpaquePointer?
    call { qcodec_scheme_parse(text, &scheme, $0) }
    replace(slot, scheme: scheme)
  }

  private mutating func changeScheme() {
    let (scheme, rounding, seed, rule) = (schemes[slot()], number(6), input.number(UInt64.self), number(5))
    call { qcodec_scheme_set_rounding(scheme, rounding, seed, $0) }
    call { qcodec_scheme_set_scale_rule(scheme, rule, $0) }
    var json: UnsafeMutablePointer<CChar>?
    if call({ qcodec_scheme_text(scheme, &json, $0) }) {
      var again: OpaquePointer?
      let isParsed = call { qcodec_scheme_parse(json, &again, $0) }
      let text = json.map { String(cString: $0) } ?? ""
      require(isParsed || text.contains("\"rounding\":\"unknown\""), "a scheme's text is no scheme: \(text)")
      qcodec_scheme_free(again)
    }
    qcodec_string_free(json)
    var table = [Float](repeating: 0, count: 256)
    let entries = qcodec_scheme_table(scheme, &table, table.count)
    require([0, 4, 8, 16, 32, 64, 256].contains(entries), "a table of \(entries) entries")
  }

  // MARK: Streams

  /// Values of the input, as many as the tensor has or, now and then, another number.
  private mutating func values(_ count: Int, _ dtype: Int32) -> [UInt8] {
    let width = Int(qcodec_dtype_bits(dtype))
    let kind = input.byte()
    let size = max(0, count * width / 8 + (kind == 0xFF ? Int(Int8(bitPattern: input.byte())) : 0))
    guard kind & 1 == 0, dtype == Int32(QCODEC_F32.rawValue) else { return input.bytes(size) }
    let bytes = input.bytes(max(1, size / 4))
    var result: [UInt8] = []
    for byte in bytes { result.append(littleEndian: (Float(byte) / 64 - (kind & 2 == 0 ? 2 : 0)).bitPattern) }
    return Array((result + [0, 0, 0, 0]).prefix(size))
  }

  private mutating func encode() {
    let (scheme, dtype, shape) = (schemes[slot()], number(24), shape())
    var size = 0
    let isSized = call { qcodec_encoded_size(scheme, dtype, shape, shape.count, &size, $0) }
    guard let count = elements(shape) else { return }
    let values = values(count, dtype)
    let slack = Int(Int8(bitPattern: input.byte())) / 100
    var stream = [UInt8](repeating: 0xA5, count: max(0, size + slack))
    var measured = qcodec_measured()
    let isEncoded = call { error in
      qcodec_encode(
        scheme, dtype, shape, shape.count, "t", values, values.count, &stream, stream.count, 1, &measured, error)
    }
    guard isEncoded else { return }
    require(isSized, "encoded without a size")
    require(measured.max_abs_error <= measured.guaranteed_max_abs_error, "an error above its guarantee")
    var decoded = [UInt8](repeating: 0, count: values.count)
    let isDecoded = call {
      qcodec_decode(scheme, dtype, shape, shape.count, stream, size, &decoded, decoded.count, 1, $0)
    }
    require(isDecoded, "what was encoded does not decode")
  }

  private mutating func decode() {
    let (scheme, dtype, shape) = (schemes[slot()], number(24), shape())
    var size = 0
    guard call({ qcodec_encoded_size(scheme, dtype, shape, shape.count, &size, $0) }), let count = elements(shape)
    else { return }
    let stream = input.bytes(size)
    var values = [UInt8](repeating: 0, count: count * Int(qcodec_dtype_bits(dtype)) / 8)
    call { qcodec_decode(scheme, dtype, shape, shape.count, stream, size, &values, values.count, 1, $0) }
    let (first, rows) = (UInt64(input.byte()), UInt64(input.byte()))
    let row = shape.first.map { $0 == 0 ? 0 : values.count / Int($0) } ?? values.count
    var part = [UInt8](repeating: 0, count: min(values.count, row * Int(rows)))
    call {
      qcodec_decode_rows(
        scheme, dtype, shape, shape.count, stream, size, first, rows, &part, part.count, 1, $0)
    }
  }

  private mutating func moments() {
    let (first, second, shape) = (schemes[slot()], schemes[slot()], shape())
    let float32 = Int32(QCODEC_F32.rawValue)
    var sizes = (0, 0)
    call { qcodec_encoded_size(first, float32, shape, shape.count, &sizes.0, $0) }
    call { qcodec_encoded_size(second, float32, shape, shape.count, &sizes.1, $0) }
    guard let count = elements(shape) else { return }
    let m = (0..<max(count, 1)).map { _ in Float(Int8(bitPattern: input.byte())) / 16 }
    let v = (0..<max(count, 1)).map { _ in Float(input.byte()) / 256 }
    var streams = ([UInt8](repeating: 0, count: sizes.0), [UInt8](repeating: 0, count: sizes.1))
    var measured = [qcodec_measured(), qcodec_measured()]
    let isEncoded = call { error in
      qcodec_encode_moments(
        first, second, shape, shape.count, m, v, &streams.0, sizes.0, &streams.1, sizes.1, 1, &measured, error)
    }
    var decoded = [Float](repeating: 0, count: count)
    let isDecoded = call { error in
      qcodec_decode_first_moment(
        first, second, shape, shape.count, streams.0, sizes.0, streams.1, sizes.1, &decoded, count * 4, 1, error)
    }
    require(isDecoded || !isEncoded, "moments that were encoded do not decode")
  }

  // MARK: Writing

  private mutating func createPolicy() {
    let (slot, kind) = (slot(), input.byte())
    var policy: OpaquePointer?
    if kind & 1 == 0 {
      let names = ["adam8", "adam4", "paper8", "paper4", "lossless", "none"]
      let name = names[Int(kind >> 1) % names.count]
      call { qcodec_policy_preset(kind == 0 ? nil : name, &policy, $0) }
    } else {
      let text = text()
      call { qcodec_policy_parse(text, text.count - 1, &policy, $0) }
    }
    var json: UnsafeMutablePointer<CChar>?
    if call({ qcodec_policy_text(policy, &json, $0) }), let json {
      var again: OpaquePointer?
      require(call { qcodec_policy_parse(json, String(cString: json).utf8.count, &again, $0) }, "no policy any more")
      qcodec_policy_free(again)
    }
    qcodec_string_free(json)
    qcodec_policy_free(policies[slot])
    policies[slot] = policy
  }

  private mutating func createWriter() {
    let (slot, flags) = (slot(), input.byte())
    var options = qcodec_writer_options()
    qcodec_writer_options_init(&options)
    options.compression = number(4)
    options.threads = 1
    options.keep_nonfinite = Int32(flags & 1)
    if flags & 2 != 0 { options.measure_epsilon = Double(input.byte()) / 100 }
    if flags & 4 != 0 { options.zstd_level = number(23) }
    let sink = InterfaceSink(limit: flags & 0xF0 == 0xF0 ? Int(input.number(UInt16.self)) : .max)
    var handle: OpaquePointer?
    let context = Unmanaged.passUnretained(sink).toOpaque()
    call { qcodec_writer_create_function(InterfaceSink.write, context, &options, &handle, $0) }
    qcodec_writer_free(writers[slot]?.handle)
    writers[slot] = handle.map { InterfaceWriter(handle: $0, sink: sink) }
  }

  private mutating func writerText() {
    let (writer, member, text) = (writers[slot()]?.handle, text(), text())
    call { qcodec_writer_set_metadata(writer, text, text.count - 1, $0) }
    call { qcodec_writer_set_member(writer, member, text, text.count - 1, $0) }
  }

  private mutating func addTensors() {
    let (writer, policy, scheme) = (writers[slot()]?.handle, policies[slot()], schemes[slot()])
    let (kind, shape) = (input.byte(), shape())
    guard let count = elements(shape) else { return }
    let names = [text(), text()]
    let dtypes = [number(24), number(24)]
    let roles = [number(7), number(7)]
    let data = [values(count, dtypes[0]), values(count, dtypes[1])]
    InterfaceTensors.with(names: names, dtypes: dtypes, roles: roles, shape: shape, data: data) { tensors in
      switch kind % 4 {
      case 0, 1:
        var dropped: [UInt8] = [7, 7]
        call { qcodec_writer_add(writer, tensors, 1 + Int(kind >> 2 & 1), policy, &dropped, $0) }
      case 2: call { qcodec_writer_add_tensor(writer, tensors, scheme, $0) }
      default:
        let feed = InterfaceFeed(data[0], step: 1 + Int(kind >> 2) * 7)
        withExtendedLifetime(feed) {
          let context = Unmanaged.passUnretained(feed).toOpaque()
          call { qcodec_writer_add_pushed(writer, tensors, scheme, InterfaceFeed.next, context, $0) }
        }
      }
    }
  }

  private mutating func addImport() {
    let (writer, scheme, shape, name) = (writers[slot()]?.handle, schemes[slot()], shape(), text())
    guard let count = elements(shape) else { return }
    let (scales, bits) = (Int(input.byte()), [8, 4, 6, 3][Int(input.byte() & 3)])
    let (scaleBytes, codes) = (input.bytes(scales * 4), input.bytes((count * bits + 7) / 8))
    InterfaceTensors.with(
      names: [name, name], dtypes: [number(5), 1], roles: [0, 0], shape: shape, data: [[], []]
    ) { tensor in
      call {
        qcodec_writer_add_import(writer, tensor, scheme, scaleBytes, scaleBytes.count, codes, codes.count, $0)
      }
    }
  }

  /// A checkpoint that was committed verifies and can be read.
  private mutating func commit() {
    let (slot, target) = (slot(), slot())
    guard let writer = writers[slot] else { return }
    if input.byte() == 0xFF { qcodec_writer_abort(writer.handle) }
    var written = qcodec_written()
    let isComplete = call { qcodec_writer_commit(writer.handle, &written, $0) }
    guard isComplete else { return }
    let file = writer.sink.bytes
    require(written.file_bytes == UInt64(file.count), "\(written.file_bytes) bytes, of which \(file.count) came")
    guard let reader = InterfaceReader.open(file) else { fatalError("a complete checkpoint cannot be opened") }
    require(qcodec_reader_count(reader.handle) == Int(written.tensors), "another number of tensors")
    var options = qcodec_verify_options()
    qcodec_verify_options_init(&options)
    options.threads = 1
    let isVerified = call { qcodec_verify(reader.handle, nil, &options, nil, $0) }
    require(isVerified, "a complete checkpoint does not verify")
    qcodec_reader_free(readers[target]?.handle)
    readers[target] = reader
  }

  // MARK: Reading

  /// A file of the input's own bytes, or of a checkpoint that was written, with a byte changed.
  private mutating func openReader() {
    let slot = slot()
    var bytes = readers[self.slot()]?.source.bytes ?? input.bytes(224)
    let place = Int(input.number(UInt16.self))
    if !bytes.isEmpty { bytes[place % bytes.count] ^= input.byte() }
    let reader = InterfaceReader.open(bytes)
    qcodec_reader_free(readers[slot]?.handle)
    readers[slot] = reader
  }

  private mutating func read() {
    let reader = readers[slot()]?.handle
    let tensor = Int(number(4))
    var info = qcodec_tensor_info()
    guard call({ qcodec_reader_info(reader, tensor, &info, $0) }) else { return }
    var name = [CChar](repeating: 0x7F, count: Int(input.byte()))
    let length = qcodec_reader_name(reader, tensor, &name, name.count)
    if length < name.count {
      let found = qcodec_reader_find(reader, name)
      let hasZero = name[..<length].contains(0)
      require(hasZero || found == Int64(tensor), "a tensor is not found by its name")
    }
    var scheme: OpaquePointer?
    call { qcodec_reader_scheme(reader, tensor, &scheme, $0) }
    require((scheme != nil) == (info.is_quantized != 0), "a quantized tensor without a scheme")
    qcodec_scheme_free(scheme)
    readValues(reader, tensor, info)
    documents(reader)
  }

  private mutating func readValues(_ reader: OpaquePointer?, _ tensor: Int, _ info: qcodec_tensor_info) {
    guard info.source_bytes <= 1 << 20 else { return }
    var whole = [UInt8](repeating: 0, count: Int(info.source_bytes) + Int(input.byte() / 128))
    whole.withUnsafeMutableBytes { bytes in
      var request = qcodec_read_request(tensor: tensor, target: bytes.baseAddress, size: bytes.count)
      call { qcodec_reader_read(reader, &request, 1, 1, $0) }
    }
    let (first, count) = (UInt64(input.byte()), UInt64(input.byte()))
    let rows = info.dims == 0 ? 1 : max(1, withUnsafeBytes(of: info.shape) { $0.load(as: UInt64.self) })
    let size = Int(min(info.source_bytes, info.source_bytes / rows &* count))
    call { qcodec_reader_read_rows(reader, tensor, first, count, &whole, size, 1, $0) }
    var sizes = (0, 0)
    guard call({ qcodec_reader_code_sizes(reader, tensor, &sizes.0, &sizes.1, $0) }) else { return }
    var (scales, codes) = ([UInt8](repeating: 0, count: sizes.0), [UInt8](repeating: 0, count: sizes.1))
    call { qcodec_reader_read_codes(reader, tensor, &scales, sizes.0, &codes, sizes.1, 1, $0) }
  }

  private mutating func documents(_ reader: OpaquePointer?) {
    let member = text()
    var (json, length) = (UnsafeMutablePointer<CChar>?.none, 0)
    call { qcodec_reader_member(reader, member, &json, &length, $0) }
    qcodec_string_free(json)
    json = nil
    call { qcodec_reader_summary(reader, &json, $0) }
    qcodec_string_free(json)
    json = nil
    var options = qcodec_verify_options()
    qcodec_verify_options_init(&options)
    options.threads = 1
    if input.byte() & 1 == 1 { options.max_abs = Double(input.byte()) / 10 }
    call { qcodec_verify(reader, nil, &options, &json, $0) }
    qcodec_string_free(json)
  }
}
