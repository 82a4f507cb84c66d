/// Chooses which elements of a chunk are escaped together, and writes their section.
struct EscapeWriter {
  private(set) var runs: [(elements: Range<Int>, form: EscapeForm)] = []

  /// The section of elements whose codes do not serve.
  ///
  /// Neighbouring runs become one where that takes no more bytes; what lies between is then escaped with them.
  ///
  /// - Parameters:
  ///   - violations: the elements, ascending.
  ///   - form: the form that an element takes to be escaped.
  ///   - holds: whether an element fulfils what is asked for in a form. Of floats it may do so in few bits and not in some
  ///     more, for what it is divided by is rounded too; all of its bits always do.
  init(_ violations: [Int], form: (Int) -> EscapeForm, holds: (Int, EscapeForm) -> Bool) {
    for element in violations { take(element, form(element), form) }
    for index in runs.indices {
      while runs[index].form.bits < 32, !runs[index].elements.allSatisfy({ holds($0, runs[index].form) }) {
        runs[index].form = EscapeForm(bits: runs[index].form.bits + 1)
      }
    }
  }

  /// The section of elements of a chunk, each in the form of fewest bytes that the criterion admits.
  init(_ violations: [Int], of values: EscapeValues, _ criterion: some EscapeCriterion) {
    var hint = EscapeForm.floats(of: values.dtype).upperBound
    self.init(violations) { element in
      if let multiple = values.multiple(element, criterion) { return multiple }
      let form = values.float(element, near: hint, criterion)
      hint = form.bits
      return form
    } holds: { element, form in
      values.holds(element, form, criterion)
    }
  }

  private mutating func take(_ element: Int, _ own: EscapeForm, _ form: (Int) -> EscapeForm) {
    // A longer gap costs more than a run of its own, whatever the forms.
    if let last = runs.last, element - last.elements.upperBound <= EscapeSection.runSize / 2 {
      let (first, end) = (last.elements.lowerBound, last.elements.upperBound)
      let joined = (end..<element).reduce(last.form.joined(with: own)) { $0?.joined(with: form($1)) }
      if let joined,
        joined.byteCount * (element + 1 - first)
          <= last.form.byteCount * (end - first) + EscapeSection.runSize + own.byteCount
      {
        runs[runs.count - 1] = (first..<element + 1, joined)
        return
      }
    }
    runs.append((element..<element + 1, own))
  }

  /// Whether there are any.
  var isEmpty: Bool { runs.isEmpty }

  /// The bytes of the section.
  var byteCount: Int {
    runs.reduce(EscapeSection.countSize) { $0 + EscapeSection.runSize + $1.elements.count * $1.form.byteCount }
  }

  /// Appends the section; `stored` gives what is stored of an element in a form.
  func append(to payload: inout [UInt8], stored: (Int, EscapeForm) -> UInt32) {
    payload.reserveCapacity(payload.count + byteCount)
    payload.append(word: UInt32(runs.count))
    for run in runs {
      payload.append(word: UInt32(run.elements.lowerBound))
      payload.append(word: UInt32(run.elements.count - 1) | UInt32(run.form.field) << 18)
    }
    for run in runs {
      let values = run.elements.map { stored($0, run.form) }
      // Bytes of one place together: the upper ones are alike, which is what entropy coders live on.
      for byte in 0..<run.form.byteCount {
        payload += values.map { UInt8(truncatingIfNeeded: $0 >> UInt32(8 * byte)) }
      }
    }
  }
}

extension [UInt8] {
  fileprivate mutating func append(word: UInt32) {
    for byte in 0..<4 { append(UInt8(truncatingIfNeeded: word >> UInt32(8 * byte))) }
  }
}
