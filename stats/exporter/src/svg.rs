// SPDX-License-Identifier: Apache-2.0
//! The drawing of a graph. Colours and fonts are in `page.css`.

use std::fmt::Write;

use crate::graph::{Edge, Graph, Node};
use crate::layout::{Point, Rect, Size, layout};
use crate::words::{Count, Html, Short};

const MARGIN: f64 = 14.0;
const LINE: f64 = 17.0;
/// Left and right of the text in a box.
const PADDING: f64 = 12.0;
/// Of a character of the name, at the font size of `page.css`.
const CHARACTER: f64 = 7.7;
/// A wider drawing is made smaller to fit the window, but no smaller than this: text has to be read.
const LEAST_SCALED: f64 = 960.0;
/// For the longest figures.
const LEAST_WIDTH: f64 = 136.0;
/// Of the line that shows a node's part of all clocks.
const BAR: f64 = 4.0;

/// Appends the drawing.
pub(crate) fn draw(html: &mut String, graph: &Graph) {
    let sizes: Vec<Size> = graph.nodes.iter().map(size).collect();
    let ends: Vec<(usize, usize)> = graph.edges.iter().map(|edge| (edge.from, edge.to)).collect();
    let layout = layout(&sizes, &ends);
    let (width, height) = (layout.size.width + 2.0 * MARGIN, layout.size.height + 2.0 * MARGIN);
    let _ = write!(
        html,
        "<svg viewBox=\"{0} {0} {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         style=\"min-width:{1:.0}px\" role=\"img\" aria-label=\"node graph\">",
        -MARGIN,
        width.min(LEAST_SCALED)
    );
    // Everything keeps its place in the document whatever the rates are: the script of the page goes by that.
    for (edge, route) in graph.edges.iter().zip(&layout.routes) {
        draw_edge(html, graph, edge, route);
    }
    html.push_str("<g>");
    let degrees = Degrees::of(&ends, graph.nodes.len());
    for (edge, route) in graph.edges.iter().zip(&layout.routes) {
        label_edge(html, edge, route, &degrees);
    }
    html.push_str("</g>");
    for (node, rect) in graph.nodes.iter().zip(&layout.boxes) {
        draw_node(html, node, rect);
    }
    html.push_str("</svg>");
}

fn size(node: &Node) -> Size {
    let width = (node.name.len() as f64 * CHARACTER + 2.0 * PADDING).max(LEAST_WIDTH);
    // A node that has dropped once keeps the line, so that the picture stands still.
    let lines = if node.dropped > 0 { 4.0 } else { 3.0 };
    Size { width, height: lines * LINE + 12.0 }
}

/// Stroke width of this many packets per second: tenfold traffic is about 1.5 times as wide, and ten
/// million still fit between two boxes.
fn stroke(packets: f64) -> f64 {
    1.2 * (1.0 + packets).powf(0.16)
}

fn draw_edge(html: &mut String, graph: &Graph, edge: &Edge, route: &[[Point; 2]]) {
    let (from, to) = (Html(&graph.nodes[edge.from].name), Html(&graph.nodes[edge.to].name));
    let class = if edge.packets > 0.0 { "edge busy" } else { "edge" };
    let _ = write!(
        html,
        "<path class=\"{class}\" data-from=\"{from}\" data-to=\"{to}\" data-rate=\"{:.3}\" \
         style=\"stroke-width:{:.2}px\" d=\"",
        edge.packets,
        stroke(edge.packets)
    );
    for (index, [start, end]) in route.iter().enumerate() {
        let middle = (start.x + end.x) / 2.0;
        let command = if index == 0 { 'M' } else { 'L' };
        let _ = write!(
            html,
            "{command}{:.1} {:.1}C{middle:.1} {:.1} {middle:.1} {:.1} {:.1} {:.1}",
            start.x, start.y, start.y, end.y, end.x, end.y
        );
    }
    let _ = write!(
        html,
        "\"><title>{from} → {to}\n{} packets/s, {} in all</title></path>",
        Short(edge.packets),
        edge.total
    );
}

/// Edges at each node.
struct Degrees {
    out: Vec<usize>,
    into: Vec<usize>,
}

impl Degrees {
    fn of(ends: &[(usize, usize)], nodes: usize) -> Degrees {
        let mut degrees = Degrees { out: vec![0; nodes], into: vec![0; nodes] };
        for (from, to) in ends {
            degrees.out[*from] += 1;
            degrees.into[*to] += 1;
        }
        degrees
    }
}

/// The label stands on the curve at the end where fewer edges meet.
fn label_edge(html: &mut String, edge: &Edge, route: &[[Point; 2]], degrees: &Degrees) {
    let at_start = degrees.out[edge.from] <= degrees.into[edge.to];
    let curve = if at_start { route.first() } else { route.last() };
    if let Some([start, end]) = curve
        && edge.packets > 0.0
    {
        let (x, y) = ((start.x + end.x) / 2.0, (start.y + end.y) / 2.0);
        // Everything else goes to the right.
        let back = if end.x < start.x { "◂ " } else { "" };
        let _ = write!(
            html,
            "<text class=\"rate\" x=\"{x:.1}\" y=\"{y:.1}\">{back}{}</text>",
            Short(edge.packets)
        );
    }
}

fn draw_node(html: &mut String, node: &Node, rect: &Rect) {
    let Rect { at: Point { x, y }, size: Size { width, height } } = *rect;
    let name = Html(&node.name);
    let class = if node.packets > 0.0 { "node busy" } else { "node" };
    let _ = write!(
        html,
        "<g class=\"{class}\" data-node=\"{name}\" transform=\"translate({x:.1} {y:.1})\"><title>{name}\n\
         {} packets/s\n{:.1} % of the clocks of all nodes",
        Short(node.packets),
        node.share * 100.0
    );
    for reason in &node.reasons {
        let _ =
            write!(html, "\n{}/s {} ({} in all)", Short(reason.rate), Html(&reason.sentence), reason.total);
    }
    let _ = write!(
        html,
        "</title><rect class=\"box\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"7\"/>\
         <rect class=\"share\" x=\"{PADDING}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"{}\"/>",
        height - BAR - 3.0,
        (width - 2.0 * PADDING) * node.share,
        BAR / 2.0
    );
    let mut line = 0.0;
    let mut text = |class: &str, text: &dyn std::fmt::Display| {
        line += LINE;
        let _ = write!(html, "<text class=\"{class}\" x=\"{PADDING}\" y=\"{line}\">{text}</text>");
    };
    text("name", &name);
    if node.packets > 0.0 {
        text("figure", &format_args!("{} clocks/packet", Short(node.clocks_per_packet)));
        text("figure", &format_args!("{} vectors/call", Short(node.packets_per_call)));
    } else {
        text("figure", &"idle");
        text("figure", &"");
    }
    if node.dropped > 0 {
        match node.drops {
            0.0 => text("figure", &format_args!("{} dropped so far", Count(node.dropped))),
            drops => text("drops", &format_args!("{} dropped/s", Short(drops))),
        }
    }
    html.push_str("</g>");
}
