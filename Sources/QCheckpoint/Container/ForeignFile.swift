/// Files that people take for checkpoints, known by their first bytes.
public enum ForeignFile: Sendable {
  case safetensors
  case numpy
  case zip
  case torch
  case pickle
  case gguf
  case gzip
  case zstd
  case hdf5
  case gitLFSPointer
  case html
  case json

  /// What it is, for error messages.
  public var description: String {
    switch self {
    case .safetensors: "a safetensors file; compress it with 'qcodec encode'"
    case .numpy: "a NumPy .npy file; compress it with 'qcodec encode'"
    case .zip: "a zip archive; an .npz of numpy.savez is compressed with 'qcodec encode'"
    case .torch: "a torch.save archive, whose pickle is never loaded here; use 'python -m qcodec convert'"
    case .pickle:
      "a Python pickle, which is never loaded here; a file of torch.save is converted by 'python -m qcodec convert'"
    case .gguf: "a GGUF model"
    case .gzip: "gzip data; decompress it first"
    case .zstd: "zstd data; decompress it first"
    case .hdf5: "an HDF5 file"
    case .gitLFSPointer: "a Git LFS pointer, not the file itself; run 'git lfs pull'"
    case .html: "an HTML page; was the download refused?"
    case .json: "a JSON document; a model.safetensors.index.json is compressed with 'qcodec encode'"
    }
  }

  /// The kind of a file by its first bytes, 64 or more where it has them; nil if unknown.
  public static func identify(_ bytes: [UInt8]) -> ForeignFile? {
    func starts(_ text: String) -> Bool { bytes.starts(with: Array(text.utf8)) }
    if isTorchArchive(bytes) { return .torch }
    if starts("PK\u{3}\u{4}") || starts("PK\u{5}\u{6}") { return .zip }
    if bytes.starts(with: [0x93] + Array("NUMPY".utf8)) { return .numpy }
    if starts("GGUF") { return .gguf }
    if bytes.starts(with: [0x1F, 0x8B]) { return .gzip }
    if bytes.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) { return .zstd }
    if bytes.starts(with: [0x89] + Array("HDF\r\n".utf8)) { return .hdf5 }
    if starts("version https://git-lfs") { return .gitLFSPointer }
    if bytes.count >= 2, bytes[0] == 0x80, (2...5).contains(bytes[1]) { return .pickle }
    // A safetensors file begins with the header's length and its opening brace.
    if bytes.count >= 9, bytes[8] == UInt8(ascii: "{"), bytes[5...7].allSatisfy({ $0 == 0 }) { return .safetensors }
    let text = bytes.drop { $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }
    if text.first == UInt8(ascii: "<") { return .html }
    if text.first == UInt8(ascii: "{") { return .json }
    return nil
  }

  /// Whether the first member of a zip archive is what torch.save writes first: the pickle, in a folder of the file's name.
  private static func isTorchArchive(_ bytes: [UInt8]) -> Bool {
    guard bytes.starts(with: Array("PK\u{3}\u{4}".utf8)), bytes.count >= 30 else { return false }
    let length = Int(bytes[26]) | Int(bytes[27]) << 8
    let name = bytes[30...].prefix(length)
    return name.count == length && name.reversed().starts(with: "/data.pkl".utf8.reversed())
  }
}
