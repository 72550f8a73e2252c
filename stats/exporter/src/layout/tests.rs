// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

const BOX: Size = Size { width: 120.0, height: 50.0 };

/// What is wrong with a layout of these nodes and edges.
fn faults(sizes: &[Size], edges: &[(usize, usize)]) -> Vec<String> {
    let layout = layout(sizes, edges);
    let mut faults = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            faults.push(what);
        }
    };
    let right = |rect: &Rect| rect.at.x + rect.size.width;
    let bottom = |rect: &Rect| rect.at.y + rect.size.height;
    check(layout.boxes.len() == sizes.len() && layout.routes.len() == edges.len(), "lengths".into());
    for (a, rect) in layout.boxes.iter().enumerate() {
        let inside = rect.at.x >= 0.0 && rect.at.y > -1e-6;
        let inside =
            inside && right(rect) < layout.size.width + 1e-6 && bottom(rect) < layout.size.height + 1e-6;
        check(inside, format!("box {a} is outside: {rect:?} of {:?}", layout.size));
        check(
            rect.size.width > sizes[a].width - 1e-6 && rect.size.height == sizes[a].height,
            format!("size of {a}"),
        );
        for (b, other) in layout.boxes.iter().enumerate().skip(a + 1) {
            let beside = right(rect) < other.at.x || right(other) < rect.at.x;
            let above = bottom(rect) < other.at.y || bottom(other) < rect.at.y;
            check(beside || above, format!("boxes {a} and {b} overlap: {rect:?} {other:?}"));
        }
    }
    for (edge, route) in edges.iter().zip(&layout.routes) {
        let (Some([start, _]), Some([_, end])) = (route.first(), route.last()) else {
            check(edge.0 == edge.1, format!("{edge:?} has no route"));
            continue;
        };
        for (node, point) in [(edge.0, start), (edge.1, end)] {
            let rect = &layout.boxes[node];
            let on_side = [rect.at.x, right(rect)].iter().any(|side| (point.x - side).abs() < 1e-6);
            let in_height = rect.at.y < point.y && point.y < bottom(rect);
            check(on_side && in_height, format!("{edge:?} does not touch {node}: {point:?} {rect:?}"));
        }
        for pair in route.windows(2) {
            let ([_, arrives], [leaves, _]) = (pair[0], pair[1]);
            check(arrives.y == leaves.y, format!("{edge:?} is not level across a layer"));
            for (node, rect) in layout.boxes.iter().enumerate() {
                let in_layer = rect.at.x <= arrives.x.max(leaves.x) && arrives.x.min(leaves.x) <= right(rect);
                let hit = in_layer && rect.at.y < arrives.y && arrives.y < bottom(rect);
                check(!hit, format!("{edge:?} runs under {node}"));
            }
        }
    }
    faults
}

#[test]
fn nothing_and_little() {
    assert_eq!(layout(&[], &[]).size, Size { width: 0.0, height: 0.0 });
    let one = layout(&[BOX], &[(0, 0)]);
    assert_eq!((one.size, &one.routes[..]), (BOX, &[vec![]][..]));
}

#[test]
fn packets_go_from_left_to_right() {
    // 0 -> 1 -> 2 -> 3, 1 -> 3 past 2, and 3 -> 1 back.
    let edges = [(0, 1), (1, 2), (2, 3), (1, 3), (3, 1)];
    let layout = layout(&[BOX; 4], &edges);
    let x: Vec<f64> = layout.boxes.iter().map(|rect| rect.at.x).collect();
    assert!(x.is_sorted_by(|a, b| a < b), "{x:?}");
    assert_eq!(layout.routes[3].len(), 2, "it passes the layer of 2");
    let back = &layout.routes[4];
    assert!(back[0][0].x > back[back.len() - 1][1].x, "{back:?}");
    assert_eq!(faults(&[BOX; 4], &edges), [""; 0]);
}

#[test]
fn needless_crossings_go() {
    // Listed so that the first order crosses everywhere.
    let edges = [(0, 5), (1, 4), (2, 3), (5, 6), (4, 7), (3, 8)];
    let layout = layout(&[BOX; 9], &edges);
    let y = |node: usize| layout.boxes[node].at.y;
    for (from, to) in edges {
        assert!((y(from) - y(to)).abs() < 1e-6, "{from} -> {to} could be level: {} {}", y(from), y(to));
    }
}

/// The oracle of [`crossings`]: every pair of edges.
fn crossing_pairs(edges: &[(usize, usize)]) -> usize {
    let crosses = |(a, b): &(usize, usize), (c, d): &(usize, usize)| a < c && b > d;
    edges.iter().map(|one| edges.iter().filter(|other| crosses(one, other)).count()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn any_graph_is_drawn_clearly(
        heights in prop::collection::vec(20.0..90.0, 1..24),
        ends in prop::collection::hash_set((0usize..24, 0usize..24), 0..60),
    ) {
        let nodes = heights.len();
        let sizes: Vec<Size> =
            heights.iter().map(|height| Size { width: 60.0 + height, height: *height }).collect();
        let edges: Vec<(usize, usize)> =
            ends.into_iter().map(|(from, to)| (from % nodes, to % nodes)).collect();
        let faults = faults(&sizes, &edges);
        prop_assert!(faults.is_empty(), "{faults:#?}");
        prop_assert_eq!(layout(&sizes, &edges), layout(&sizes, &edges));
    }

    #[test]
    fn crossings_are_counted(edges in prop::collection::hash_set((0usize..8, 0usize..8), 0..30)) {
        let size = BOX;
        let mut places: Vec<Place> = (0..16)
            .map(|index| Place { size, layer: index / 8, y: 0.0, left: vec![], right: vec![] })
            .collect();
        let edges: Vec<(usize, usize)> = edges.into_iter().collect();
        for (from, to) in &edges {
            places[*from].right.push(8 + to);
        }
        let columns = [(0..8).collect(), (8..16).collect()];
        let position: Vec<usize> = (0..16).map(|index| index % 8).collect();
        prop_assert_eq!(crossings(&places, &columns, &position), crossing_pairs(&edges));
    }
}

/// Larger than any real graph, and quick enough to be drawn every second.
#[test]
fn large_graphs_are_drawn_too() {
    let nodes = 300;
    let edges: Vec<(usize, usize)> =
        (0..nodes * 4).map(|index| (index * 7 % nodes, index * 13 % nodes)).collect();
    let layout = layout(&vec![BOX; nodes], &edges);
    assert_eq!(layout.boxes.len(), nodes);
}
