import Testing

@testable import QReport

@Suite struct NumberTextTests {
  @Test(
    arguments: [
      (0, "0"), (1, "1.00"), (0.00613, "0.00613"), (0.0009994, "9.99 × 10⁻⁴"), (0.001, "0.00100"), (12.345, "12.3"),
      (999.6, "1000"), (1234.4, "1234"), (54321, "54,321"), (1e6, "1.00 × 10⁶"), (9.999e-7, "1.00 × 10⁻⁶"),
      (1e-6, "1.00 × 10⁻⁶"), (-2.5e-9, "−2.50 × 10⁻⁹"), (.infinity, "infinite"), (.nan, "not a number"),
      (.leastNonzeroMagnitude, "4.94 × 10⁻³²⁴"), (1.7976931348623157e308, "1.80 × 10³⁰⁸"),
    ] as [(Double, String)]) func errors(value: Double, text: String)
  {
    #expect(NumberText.error(value) == text)
  }

  @Test func sizesAndShares() {
    #expect(
      [0, 1023, 1024, 10_240, 1_048_575, 1 << 40].map { NumberText.bytes($0) }
        == ["0 B", "1023 B", "1.00 KiB", "10.0 KiB", "1.00 MiB", "1.00 TiB"])
    #expect([0, 0.0001, 0.5, 1].map(NumberText.share) == ["0.0 %", "< 0.1 %", "50.0 %", "100.0 %"])
    #expect(NumberText.share(-0.25) == "−25.0 %")
    #expect([0, 999, 1000, 1_234_567].map(NumberText.grouped) == ["0", "999", "1,000", "1,234,567"])
    #expect(NumberText.count(1, "tensor") == "1 tensor" && NumberText.count(2000, "pair") == "2,000 pairs")
    #expect(NumberText.shape([]) == "scalar" && NumberText.shape([2, 3072]) == "2 × 3,072")
  }

  @Test func axesHoldTheirValues() {
    let axis = LogAxis([0, 0.003, 0.2, .infinity, .nan], from: 200, to: 0)
    #expect(axis.place(0) == 200 && axis.place(.infinity) == 0)
    #expect(axis.place(0.2) > 0 && axis.place(0.2) < axis.place(0.003) && axis.place(0.003) < 200)
    #expect(axis.ticks(room: 26).map(\.label) == ["0.005", "0.01", "0.02", "0.05", "0.1", "0.2"])
    #expect(
      LogAxis([1e-12, 1], from: 0, to: 120).ticks(room: 30).map(\.label) == ["10⁻¹²", "10⁻⁸", "10⁻⁴", "10⁰"])
    #expect(LogAxis([], from: 0, to: 100).ticks(room: 30).map(\.label) == ["0.1", "1"])
    #expect(LogAxis([3e-9], from: 0, to: 300).ticks(room: 30).map(\.label) == ["10⁻⁹", "2·10⁻⁹", "5·10⁻⁹"])
    let linear = LinearAxis([16.25], from: 10, to: 110, steps: 8)
    #expect(linear.ticks == [0, 4, 8, 12, 16, 20] && linear.place(10) == 60)
    #expect(LinearAxis([0], from: 0, to: 1, steps: 4).ticks.count > 1)
  }

  @Test func coordinatesAreTenths() {
    #expect([0, -0.04, 1.25, -3.14, 728].map(Canvas.number) == ["0", "0", "1.3", "-3.1", "728"])
  }
}
