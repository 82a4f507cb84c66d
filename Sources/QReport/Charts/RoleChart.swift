import QCheckpoint

/// Bars of the bytes of each role, as stored within as given.
struct RoleChart: Chart {
  let roles: [RoleFigures]

  var title: String { "Bytes by role" }
  var summary: String {
    "Bars, one a role: its bytes in the file, within its bytes as they were given. "
      + roles.map(Self.label).joined(separator: "; ") + "."
  }

  func draw(on canvas: inout Canvas) {
    let most = roles.map { max($0.sourceBytes, $0.storedBytes) }.max() ?? 0
    let row = 48.0
    for (index, role) in roles.enumerated() {
      let y = Double(index) * row
      canvas.text(role.role.label, 0, y + 15, styleClass: "strong")
      var size = "\(NumberText.bytes(role.storedBytes)) of \(NumberText.bytes(role.sourceBytes))"
      if !canvas.isNarrow { size += " · \(NumberText.fixed(role.bitsPerValue, digits: 2)) bits a value" }
      canvas.text(size, canvas.width, y + 15, anchor: .end, styleClass: "soft")
      func length(_ bytes: UInt64) -> Double { most == 0 ? 0 : Double(bytes) / Double(most) * canvas.width }
      canvas.mark(
        Self.label(role), styleClass: role.role.styleClass,
        Canvas.rectangle(0, y + 23, max(2, length(role.sourceBytes)), 12, styleClass: "track"),
        Canvas.rectangle(0, y + 23, max(2, length(role.storedBytes)), 12, styleClass: "fill"))
    }
    canvas.height = max(1, Double(roles.count)) * row
  }

  static func label(_ role: RoleFigures) -> String {
    "\(role.role.label): \(NumberText.count(role.tensors, "tensor")), \(NumberText.bytes(role.storedBytes)) of "
      + "\(NumberText.bytes(role.sourceBytes)), \(NumberText.fixed(role.bitsPerValue, digits: 2)) bits a value"
  }
}
