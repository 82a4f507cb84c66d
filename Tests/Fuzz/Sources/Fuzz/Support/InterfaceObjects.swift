import CQCodec

/// A writer with what it writes to.
struct InterfaceWriter {
  let handle: OpaquePointer
  let sink: InterfaceSink
}

/// Takes a checkpoint's bytes, until it fails.
final class InterfaceSink {
  private(set) var bytes: [UInt8] = []
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  static let write: qcodec_write_function = { context, bytes, size in
    guard let context, let bytes else { return 1 }
    let sink = Unmanaged<InterfaceSink>.fromOpaque(context).takeUnretainedValue()
    guard size <= sink.limit - sink.bytes.count else { return 5 }
    sink.bytes.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: size))
    return 0
  }
}

/// A reader with what it reads from.
struct InterfaceReader {
  let handle: OpaquePointer
  let source: InterfaceSource

  static func open(_ bytes: [UInt8]) -> InterfaceReader? {
    let source = InterfaceSource(bytes)
    var handle: OpaquePointer?
    let context = Unmanaged.passUnretained(source).toOpaque()
    let status = qcodec_reader_open_function(InterfaceSource.read, context, UInt64(bytes.count), &handle, nil)
    require((status == 0) == (handle != nil), "status \(status) and a handle, or none")
    return handle.map { InterfaceReader(handle: $0, source: source) }
  }
}

/// Gives bytes by range and sees that no others are asked for.
final class InterfaceSource: Sendable {
  let bytes: [UInt8]

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  static let read: qcodec_read_function = { context, offset, target, size in
    guard let context, let target else { return 1 }
    let bytes = Unmanaged<InterfaceSource>.fromOpaque(context).takeUnretainedValue().bytes
    require(offset <= UInt64(bytes.count) && size <= bytes.count - Int(offset), "bytes beyond the file are asked for")
    bytes.withUnsafeBytes { all in
      UnsafeMutableRawBufferPointer(start: target, count: size)
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: all[Int(offset)..<Int(offset) + size]))
    }
    return 0
  }
}

/// Pushes bytes, some at a time.
final class InterfaceFeed {
  private let bytes: [UInt8]
  private let step: Int
  private var position = 0

  init(_ bytes: [UInt8], step: Int) {
    self.bytes = bytes
    self.step = step
  }

  static let next: qcodec_next_function = { context, target, capacity, size in
    guard let context, let target, let size else { return 1 }
    let feed = Unmanaged<InterfaceFeed>.fromOpaque(context).takeUnretainedValue()
    let count = min(feed.step, capacity, feed.bytes.count - feed.position)
    guard count > 0 else { return 9 }
    for index in 0..<count {
      target.storeBytes(of: feed.bytes[feed.position + index], toByteOffset: index, as: UInt8.self)
    }
    feed.position += count
    size.pointee = count
    return 0
  }
}

/// Descriptions of tensors whose memory lives as long as a call.
enum InterfaceTensors {
  static func with(
    names: [[CChar]], dtypes: [Int32], roles: [Int32], shape: [UInt64], data: [[UInt8]],
    _ body: (UnsafePointer<qcodec_tensor>) -> Void
  ) {
    names[0].withUnsafeBufferPointer { first in
      names[1].withUnsafeBufferPointer { second in
        shape.withUnsafeBufferPointer { shape in
          data[0].withUnsafeBytes { one in
            data[1].withUnsafeBytes { other in
              var tensors = [qcodec_tensor(), qcodec_tensor()]
              for (index, (name, bytes)) in [(first, one), (second, other)].enumerated() {
                tensors[index].name = name.baseAddress
                tensors[index].dtype = dtypes[index]
                tensors[index].role = roles[index]
                tensors[index].shape = shape.baseAddress
                tensors[index].dims = shape.count
                tensors[index].data = bytes.baseAddress
                tensors[index].size = UInt64(bytes.count)
              }
              body(tensors)
            }
          }
        }
      }
    }
  }
}
