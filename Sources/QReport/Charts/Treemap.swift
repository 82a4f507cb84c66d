import QCheckpoint

/// Tensors as areas: the largest each on its own, the others of a role as one.
struct Treemap: Chart {
  private struct Item {
    let name: String
    let label: String
    let role: Role
    let bytes: UInt64
  }

  private struct Box {
    var x, y, width, height: Double
  }

  let tensors: [TensorFigures]

  var title: String { "Bytes in the file by tensor" }
  var summary: String {
    guard let largest = tensors.max(by: { $0.storedBytes < $1.storedBytes }) else { return "There are no tensors." }
    return "Areas, one a tensor, coloured by role. The largest is \(largest.name.visible(limit: 80)) with "
      + "\(NumberText.bytes(largest.storedBytes))."
  }

  func draw(on canvas: inout Canvas) {
    canvas.height = canvas.isNarrow ? 380 : 340
    let items = items(most: canvas.isNarrow ? 160 : 260)
    let total = items.reduce(0.0) { $0 + Double($1.bytes) }
    guard total > 0 else { return canvas.text("No tensor has bytes.", 0, 16, styleClass: "soft") }
    let scale = canvas.width * canvas.height / total
    var rest = Box(x: 0, y: 0, width: canvas.width, height: canvas.height)
    var start = 0
    while start < items.count {
      let count = Self.rowLength(items[start...].map { Double($0.bytes) * scale }, side: min(rest.width, rest.height))
      Self.lay(Array(items[start..<start + count]), scale: scale, into: &rest, on: &canvas)
      start += count
    }
  }

  // MARK: What is drawn

  /// The tensors, each on its own where they are few, else by the beginnings of their names, the longest that make few
  /// enough; else the largest, and the others in runs.
  private func items(most: Int) -> [Item] {
    let sorted = tensors.enumerated().filter { $0.element.storedBytes > 0 }.sorted {
      ($1.element.storedBytes, $0.offset) < ($0.element.storedBytes, $1.offset)
    }.map(\.element)
    if sorted.count <= most { return sorted.map(Self.item) }
    let groups = Self.groups(sorted, most: most)
    if groups.count >= 12 { return Self.largestFirst(groups) }
    let largest = sorted.prefix(most / 4)
    let least = largest.last?.storedBytes ?? 0
    let others = tensors.filter { $0.storedBytes > 0 && $0.storedBytes < least }
    // As many as are equal to the last of the largest could be any number.
    let equal = sorted.dropFirst(largest.count).prefix { $0.storedBytes == least }
    return Self.largestFirst(largest.map(Self.item) + Self.runs(Array(equal) + others, most: most / 2))
  }

  /// Tensors of one role that follow each other.
  private static func runs(_ tensors: [TensorFigures], most: Int) -> [Item] {
    let size = max(1, (tensors.count + most - 1) / most)
    return Role.inOrderOfReports.flatMap { role -> [Item] in
      let own = tensors.filter { $0.role == role }
      return stride(from: 0, to: own.count, by: size).map { start in
        let group = Array(own[start..<min(start + size, own.count)])
        return group.count == 1 ? item(group[0]) : item(group, name: group[0].name + " +\(group.count - 1)", role)
      }
    }
  }

  private static func largestFirst(_ items: [Item]) -> [Item] {
    items.enumerated().sorted { ($1.element.bytes, $0.offset) < ($0.element.bytes, $1.offset) }.map(\.element)
  }

  private static func item(_ tensor: TensorFigures) -> Item {
    Item(
      name: tensor.name,
      label: "\(tensor.name.visible(limit: 120)): \(NumberText.bytes(tensor.storedBytes)), "
        + "\(NumberText.fixed(tensor.bitsPerValue, digits: 2)) bits a value, \(tensor.schemeLabel)", role: tensor.role,
      bytes: tensor.storedBytes)
  }

  private static func item(_ tensors: [TensorFigures], name: String, _ role: Role) -> Item {
    let bytes = tensors.reduce(0) { $0 + $1.storedBytes }
    return Item(
      name: name,
      label: "\(name.visible(limit: 120)): \(NumberText.count(tensors.count, "tensor")), \(role.label), "
        + NumberText.bytes(bytes), role: role, bytes: bytes)
  }

  /// Tensors of one role whose names begin alike, in the order of their first.
  private static func groups(_ tensors: [TensorFigures], most: Int) -> [Item] {
    let parts = tensors.map { NameParts.split($0.name) }
    var best: [Item] = []
    for depth in 1...8 {
      var order: [String] = []
      var members: [String: [TensorFigures]] = [:]
      for (tensor, parts) in zip(tensors, parts) {
        // A digit and a bar for the role.
        let key = "\(tensor.role.rawValue)|" + parts.prefix(depth).joined()
        if members[key] == nil { order.append(key) }
        guard order.count <= most else { return best }
        members[key, default: []].append(tensor)
      }
      best = order.compactMap { key in
        guard let group = members[key], let first = group.first else { return nil }
        return group.count == 1 ? item(first) : item(group, name: String(key.dropFirst(2)) + "*", first.role)
      }
    }
    return best
  }

  // MARK: Where it is drawn

  /// How many areas make the next row along a side: as long as the worst ratio of sides gets no worse.
  private static func rowLength(_ areas: [Double], side: Double) -> Int {
    func worst(_ sum: Double, _ least: Double, _ most: Double) -> Double {
      max(side * side * most / (sum * sum), sum * sum / (side * side * least))
    }
    var sum = areas[0]
    var best = worst(sum, areas[0], areas[0])
    for count in 1..<max(1, areas.count) {
      let next = worst(sum + areas[count], areas[count], areas[0])
      if next > best { return count }
      sum += areas[count]
      best = next
    }
    return areas.count
  }

  private static func lay(_ row: [Item], scale: Double, into rest: inout Box, on canvas: inout Canvas) {
    let sum = row.reduce(0.0) { $0 + Double($1.bytes) * scale }
    let isColumn = rest.width >= rest.height
    let depth = sum / (isColumn ? rest.height : rest.width)
    var place = isColumn ? rest.y : rest.x
    for item in row {
      let length = Double(item.bytes) * scale / depth
      let box =
        isColumn
        ? Box(x: rest.x, y: place, width: depth, height: length)
        : Box(x: place, y: rest.y, width: length, height: depth)
      draw(item, box, on: &canvas)
      place += length
    }
    if isColumn { rest.x += depth } else { rest.y += depth }
    if isColumn { rest.width -= depth } else { rest.height -= depth }
  }

  private static func draw(_ item: Item, _ box: Box, on canvas: inout Canvas) {
    canvas.mark(
      item.label, styleClass: item.role.styleClass,
      Canvas.rectangle(box.x + 1, box.y + 1, box.width - 2, box.height - 2, styleClass: "area"))
    let room = box.width - 11
    let most = Int((box.height - 8) / 17)
    guard room > 40, most > 0 else { return }
    // The last line is for the size, where there are two.
    var lines = Canvas.wrapped(item.name, room, lines: max(1, min(4, most - 1))).filter { !$0.isEmpty }
    let size = NumberText.bytes(item.bytes)
    let hasSize = most > lines.count && Canvas.width(of: size) < room
    if hasSize { lines.append(size) }
    for (index, line) in lines.enumerated() {
      let isSize = hasSize && index == lines.count - 1
      canvas.text(
        line, box.x + 6, box.y + 18 + 17 * Double(index), styleClass: isSize ? "on-area soft" : "on-area")
    }
  }
}
