/// The elements of a chunk as they are given, and as escapes would have them.
struct EscapeValues {
  let dtype: DType
  private let isSigned: Bool
  private let keepsNonzero: Bool
  /// e of the multiples that may stand for elements; nil where none may.
  let exponent: Int?
  /// In float32, exact.
  let values: [Float]

  /// The elements of a chunk's bytes; multiples, where the layout has them, as coarse as an absolute bound lets them be.
  init(_ source: UnsafeRawBufferPointer, layout: TensorLayout, bound: ElementBound? = nil) {
    dtype = layout.dtype
    isSigned = layout.scheme.signed
    keepsNonzero = layout.scheme.rounding == .nearestKeepNonzero
    exponent = layout.hasMultiples ? bound?.exponentOfMultiples : nil
    values = unsafe layout.dtype.floats(source)
  }

  // MARK: Multiples

  /// The form of fewest bytes in which an element is a multiple that fulfils what is asked for; nil if there is none.
  func multiple(_ element: Int, _ criterion: some EscapeCriterion) -> EscapeForm? {
    guard let exponent else { return nil }
    let multiple = multiple(element, exponent)
    guard multiple != 0 || values[element] == 0 || !keepsNonzero,
      let bits = EscapeForm.multiples.first(where: { multiple.magnitude < Double(1 << ($0 - 1)) })
    else { return nil }
    let value = multiple * Double(sign: .plus, exponent: exponent, significand: 1)
    guard value.magnitude <= Double(Float.greatestFiniteMagnitude),
      criterion.holds(element, value, reach: EscapeBounds.absolute(exponent: exponent))
    else { return nil }
    return EscapeForm(bits: bits, exponent: exponent)
  }

  private func multiple(_ element: Int, _ exponent: Int) -> Double {
    (Double(values[element]) * Double(sign: .plus, exponent: -exponent, significand: 1)).rounded(.toNearestOrEven)
  }

  // MARK: Floats

  /// The fewest bits with which an element is finite, zero only if it is zero, and fulfils what is asked for.
  ///
  /// - Parameter hint: bits that are tried first, as those of a neighbour.
  func float(_ element: Int, near hint: Int, _ criterion: some EscapeCriterion) -> EscapeForm {
    let all = EscapeForm.floats(of: dtype)
    var (low, high) = (all.lowerBound, all.upperBound)
    var probe = hint
    while low < high {
      let bits = min(max(probe, low), high - 1)
      let isEnough = isEnough(bits, for: element, criterion)
      if isEnough { high = bits } else { low = bits + 1 }
      // A hint is right most often, or a bit off.
      probe = bits == hint ? bits + (isEnough ? -1 : 1) : (low + high) / 2
    }
    return EscapeForm(bits: high)
  }

  /// Whether an element fulfils what is asked for in a form, of multiples the one that `multiple` found.
  func holds(_ element: Int, _ form: EscapeForm, _ criterion: some EscapeCriterion) -> Bool {
    form.exponent != nil || form.bits == EscapeForm.floats(of: dtype).upperBound
      || isEnough(form.bits, for: element, criterion)
  }

  private func isEnough(_ bits: Int, for element: Int, _ criterion: some EscapeCriterion) -> Bool {
    let pattern = pattern(element, bits)
    let value = EscapeSection.value(pattern, dtype)
    guard value.isFinite, value != 0 || values[element] == 0 else { return false }
    let reach = EscapeBounds.absolute(pattern, reach: EscapeBounds.reach(bits: bits, dtype))
    return criterion.holds(element, Double(value), reach: reach)
  }

  /// An element's upper bits, to nearest even; a 16-bit type's own in the upper half.
  private func pattern(_ element: Int, _ bits: Int) -> UInt32 {
    let value = values[element]
    // −0 is zero where there are no signs.
    let pattern = value == 0 && !isSigned ? 0 : value.bitPattern
    if dtype == .f16 { return UInt32(ScalarKernels.half(Float(bitPattern: pattern))) << 16 }
    guard bits < 32 else { return pattern }
    let dropped = UInt32(32 - bits)
    let half: UInt32 = 1 << (dropped - 1) - 1
    return (pattern + half + (pattern >> dropped & 1)) & (.max << dropped)
  }

  // MARK: In files

  /// What is stored of an element in a form.
  func stored(_ element: Int, _ form: EscapeForm) -> UInt32 {
    guard let exponent = form.exponent else {
      return pattern(element, form.bits) >> UInt32(32 - 8 * form.byteCount)
    }
    return UInt32(bitPattern: Int32(multiple(element, exponent)))
  }
}

extension ElementBound {
  /// The largest e of which half a step, 2^(e − 1), keeps the bound; nil where none does.
  fileprivate var exponentOfMultiples: Int? {
    guard case .absolute(let bound) = self, bound > 0 else { return nil }
    let exponent = min(bound.exponent + 1, EscapeForm.exponents.upperBound)
    return EscapeForm.exponents.contains(exponent) ? exponent : nil
  }
}
