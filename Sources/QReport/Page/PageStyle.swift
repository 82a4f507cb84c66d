/// The style sheet of a report.
enum PageStyle {
  /// Colours for light and dark, then what every part looks like, then narrow windows and paper.
  static let source: StaticString = """
    :root{color-scheme:light dark;--paper:#fcfcfa;--ink:#1c1e22;--soft:#5a616d;--rule:#e3e4df;--axis:#b9bcb8;\
    --track:#e6e7e3;--quiet:#f3f3ef;--good:#1a7346;--bad:#b3261e;--accent:#2b63c9;--r1:#2b63c9;--r2:#bf560f;--r3:#0c7c6e;\
    --r4:#7446b0;--r5:#86701a;--r6:#7c828c}
    @media (prefers-color-scheme:dark){:root{--paper:#15171b;--ink:#e9e9e5;--soft:#a2a9b4;--rule:#2b2f36;--axis:#4b515b;\
    --track:#2d3138;--quiet:#1c1f24;--good:#6fce9b;--bad:#ff8f85;--accent:#86aeff;--r1:#86aeff;--r2:#f0a06a;--r3:#55c6b6;\
    --r4:#bb9bf0;--r5:#d3bb63;--r6:#9298a3}}
    *{box-sizing:border-box}
    body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,\
    "Helvetica Neue","Liberation Sans",Arial,sans-serif;font-variant-numeric:tabular-nums}
    header,main,footer{max-width:1104px;margin:0 auto;padding:0 24px}
    a{color:inherit}
    :focus-visible{outline:2px solid var(--accent);outline-offset:2px}
    .skip{position:absolute;left:-999px}
    .skip:focus{left:24px;top:8px;background:var(--paper);padding:8px 12px;z-index:1}
    header{padding-top:48px}
    .eyebrow{margin:0;color:var(--soft);font-size:14px}
    h1{margin:4px 0 20px;font-size:30px;line-height:1.2;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere}
    .badge{display:inline-block;padding:3px 12px;border:1.5px solid;border-radius:99px;font-size:14px;font-weight:600}
    .good{color:var(--good)}.bad{color:var(--bad)}
    .verdict{max-width:50em;margin:14px 0 0;font-size:19px;overflow-wrap:anywhere}
    .defects{color:var(--bad);overflow-wrap:anywhere}
    dl.figures{display:grid;grid-template-columns:repeat(5,1fr);margin:32px 0 0;border-top:1px solid var(--rule);\
    border-bottom:1px solid var(--rule)}
    dl.figures div{padding:14px 20px 14px 0}
    dt{color:var(--soft);font-size:14px}
    dl.figures dd{margin:2px 0 0;font-size:23px;font-weight:600;letter-spacing:-.01em}
    dl.figures dd small{display:block;color:var(--soft);font-size:14px;font-weight:400;letter-spacing:0}
    nav ul{display:flex;flex-wrap:wrap;gap:4px 22px;margin:16px 0 0;padding:0;list-style:none;font-size:14px}
    nav a{color:var(--soft);text-underline-offset:3px}
    section{display:grid;grid-template-columns:280px minmax(0,728px);gap:0 48px;padding:44px 0;\
    border-bottom:1px solid var(--rule)}
    section.whole{display:block}
    h2{margin:0 0 8px;font-size:20px;line-height:1.3;font-weight:650}
    h3{margin:0 0 12px;font-size:15px;font-weight:600;overflow-wrap:anywhere}
    .lead p{margin:0 0 12px;color:var(--soft);font-size:15px}
    .lead strong{color:var(--ink);font-weight:600}
    section.whole .lead{max-width:50em}
    figure{margin:0 0 36px}figure:last-child{margin-bottom:0}
    svg.chart{display:block;width:100%;height:auto;font-size:13px;fill:var(--ink)}
    svg.chart.wide{max-width:728px}svg.chart.narrow{display:none;max-width:560px}
    .readout{min-height:22px;margin:6px 0 0;color:var(--soft);font-size:14px;line-height:22px;display:none;\
    overflow-wrap:anywhere}
    .js .readout{display:block}
    .legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0 0 14px;padding:0;list-style:none;color:var(--soft);\
    font-size:14px}
    .legend i{display:inline-block;width:10px;height:10px;margin-right:7px;border-radius:50%;background:currentColor}
    .legend i.r2{border-radius:1px;transform:rotate(45deg) scale(.9)}
    .legend i.ring{background:none;border:1.5px solid currentColor}
    .legend i.own,.legend i.solid,.legend i.ring{color:var(--accent)}.legend i.preset{color:var(--soft)}
    .r1{color:var(--r1)}.r2{color:var(--r2)}.r3{color:var(--r3)}.r4{color:var(--r4)}.r5{color:var(--r5)}\
    .r6{color:var(--r6)}
    .tick,.axis-title,.soft{fill:var(--soft)}.tick,.axis-title{font-size:12px}.strong{font-weight:600}
    .on-area{pointer-events:none}.row-name{font-size:13px}
    .rule{stroke:var(--rule)}.axis{stroke:var(--axis)}
    .mark{outline:none}
    .fill{fill:currentColor}.track{fill:var(--track)}.area{fill:currentColor;fill-opacity:.24}
    .bar,.decade,.row,.own,.plan{color:var(--accent)}.preset{color:var(--soft)}
    .strip{fill:currentColor;fill-opacity:.28}.span{stroke:currentColor;stroke-opacity:.45;stroke-width:1.5}
    .solid{fill:currentColor}.hollow{fill:var(--paper);stroke:currentColor;stroke-width:1.5}
    .point{fill:currentColor;fill-opacity:.6;stroke:currentColor}.own.point{fill-opacity:1}
    .front{fill:none;stroke:var(--accent);stroke-width:1.5;stroke-dasharray:4 3}
    .mark:hover,.mark:focus{color:var(--ink)}
    .mark:focus-visible *{stroke:var(--ink);stroke-width:2;stroke-opacity:1}
    details{margin:4px 0 0;font-size:14px}
    summary{display:inline-block;color:var(--soft);cursor:pointer;text-decoration:underline;text-underline-offset:3px;\
    text-decoration-color:var(--axis)}
    .scroll{overflow-x:auto;margin-top:10px}.scroll:first-child{margin-top:0}
    table{border-collapse:collapse;width:100%;font-size:13.5px;line-height:1.4}
    th,td{padding:6px 0 6px 14px;border-bottom:1px solid var(--rule);text-align:right;vertical-align:top;\
    white-space:nowrap}
    thead th{border-bottom-color:var(--axis);color:var(--soft);font-weight:500;vertical-align:bottom}
    th.t,td.t,tbody th{padding-left:14px;text-align:left}
    th:first-child,td:first-child{padding-left:0;text-align:left;font-weight:400}
    .name{display:block;min-width:13em;max-width:26em;white-space:normal;overflow-wrap:anywhere}
    .scheme{display:block;min-width:10em;white-space:normal}
    tr.bad th:first-child .name{color:var(--bad)}
    thead button{padding:0;border:0;background:none;color:inherit;font:inherit;cursor:pointer;text-decoration:underline;\
    text-underline-offset:3px;text-decoration-color:var(--axis)}
    th[aria-sort] button{color:var(--ink);text-decoration-color:currentColor}
    .controls{display:none;gap:10px 18px;flex-wrap:wrap;align-items:center;margin:16px 0 6px;color:var(--soft);\
    font-size:14px}
    .js .controls{display:flex}
    .controls label{display:flex;gap:10px;align-items:center;max-width:100%}
    .controls input{flex:1;min-width:0;width:min(20em,100%);padding:7px 10px;border:1px solid var(--axis);border-radius:6px;\
    background:var(--paper);color:var(--ink);font:inherit}
    .controls button{padding:7px 14px;border:1px solid var(--axis);border-radius:6px;background:none;color:var(--ink);\
    font:inherit;cursor:pointer}
    footer{padding-top:24px;padding-bottom:56px;color:var(--soft);font-size:14px}
    @media (max-width:1103px){section{display:block}.lead{max-width:44em;margin-bottom:20px}
    dl.figures{grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}}
    @media (max-width:767px){header,main,footer{padding-left:16px;padding-right:16px}header{padding-top:28px}
    h1{font-size:24px}.verdict{font-size:17px}dl.figures dd{font-size:20px}section{padding:32px 0}
    svg.chart.wide{display:none}svg.chart.narrow{display:block}}
    @media print{body{background:none;font-size:11pt}header,main,footer{max-width:none;padding:0}nav,.controls,.skip,\
    .readout,.js .controls,.js .readout{display:none}section{display:block;padding:20px 0;break-inside:auto}
    figure,tr{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}th,td{padding-left:8px;\
    white-space:normal}table{font-size:8pt}.name{min-width:0}.scheme{min-width:0}
    svg.chart.wide{display:block;max-width:100%}svg.chart.narrow{display:none}}
    """
}
