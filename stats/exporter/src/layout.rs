// SPDX-License-Identifier: Apache-2.0
//! Where nodes and edges are drawn: in layers from left to right, the way packets go.
//!
//! The steps of Sugiyama, Tagawa and Toda (1981): edges that close a cycle are turned round, every node
//! goes into the layer after its last predecessor, an edge that spans several layers gets a place in
//! each, the order within the layers is improved until edges cross little, and coordinates follow.
//!
//! Invariants, checked by property tests: no two boxes overlap, no edge runs under a box that is not its
//! own, and equal graphs are drawn alike, so that a picture that is drawn anew every second stands still.

use std::ops::Range;

/// Space between layers; the curves and the labels of edges are in it.
const LAYER_GAP: f64 = 92.0;
/// Space between things in the same layer.
const GAP: f64 = 22.0;
/// Height of the place that a passing edge gets.
const LANE: f64 = 8.0;
/// Sweeps to the right and back over the layers. More did not change the graphs of real daemons.
const SWEEPS: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    pub width: f64,
    pub height: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// The left upper corner.
    pub at: Point,
    pub size: Size,
}

/// The picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    pub size: Size,
    /// By node; as wide as the widest of its layer.
    pub boxes: Vec<Rect>,
    /// By edge: pairs of points, each pair the ends of a curve across the space between two layers,
    /// from the source to the target. The curves are joined by level lines across the layers.
    pub routes: Vec<Vec<[Point; 2]>>,
}

/// Something in a layer: a node, or the place of an edge that passes.
struct Place {
    size: Size,
    layer: usize,
    /// Centre.
    y: f64,
    left: Vec<usize>,
    right: Vec<usize>,
}

/// Draws nodes of these sizes and the edges between them, by index. An edge from a node to itself has
/// no route.
pub fn layout(sizes: &[Size], edges: &[(usize, usize)]) -> Layout {
    let forward = without_cycles(sizes.len(), edges);
    let layer = layers(sizes.len(), &forward);
    let mut places: Vec<Place> = sizes
        .iter()
        .zip(&layer)
        .map(|(size, layer)| Place { size: *size, layer: *layer, y: 0.0, left: vec![], right: vec![] })
        .collect();
    let chains: Vec<Vec<usize>> = forward.iter().map(|edge| chain(&mut places, *edge)).collect();
    let mut columns = vec![Vec::new(); layer.iter().max().map_or(0, |last| last + 1)];
    for (index, place) in places.iter().enumerate() {
        columns[place.layer].push(index);
    }
    order(&places, &mut columns);
    set_heights(&mut places, &columns);

    let mut x = 0.0;
    let spans: Vec<Range<f64>> = columns
        .iter()
        .map(|column| {
            let width = column.iter().map(|place| places[*place].size.width).fold(0.0, f64::max);
            let span = x..x + width;
            x += width + LAYER_GAP;
            span
        })
        .collect();
    let height = places.iter().map(|place| place.y + place.size.height / 2.0).fold(0.0, f64::max);
    let boxes = places[..sizes.len()].iter().map(|place| {
        let span = &spans[place.layer];
        let height = place.size.height;
        Rect {
            at: Point { x: span.start, y: place.y - height / 2.0 },
            size: Size { width: span.end - span.start, height },
        }
    });
    Layout {
        size: Size { width: (x - LAYER_GAP).max(0.0), height },
        boxes: boxes.collect(),
        routes: routes(&places, &spans, edges, &forward, &chains),
    }
}

/// The same edges, some turned round, so that they close no cycle.
fn without_cycles(nodes: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        /// On the way from the start to where the search is.
        Open,
        Done,
    }
    let mut out = vec![Vec::new(); nodes];
    let mut entered = vec![false; nodes];
    for (index, (from, to)) in edges.iter().enumerate() {
        out[*from].push(index);
        entered[*to] |= from != to;
    }
    let mut forward = edges.to_vec();
    let mut state = vec![State::New; nodes];
    let mut starts: Vec<usize> = (0..nodes).collect();
    // Where packets come from stays on the left.
    starts.sort_by_key(|node| entered[*node]);
    for start in starts {
        if state[start] != State::New {
            continue;
        }
        state[start] = State::Open;
        let mut way = vec![(start, 0)];
        while let Some((node, next)) = way.last_mut() {
            let Some(edge) = out[*node].get(*next) else {
                state[*node] = State::Done;
                way.pop();
                continue;
            };
            *next += 1;
            let to = edges[*edge].1;
            match state[to] {
                State::New => {
                    state[to] = State::Open;
                    way.push((to, 0));
                }
                State::Open => forward[*edge] = (to, edges[*edge].0),
                State::Done => {}
            }
        }
    }
    forward
}

/// The layer of each node: one after the last of its predecessors.
fn layers(nodes: usize, forward: &[(usize, usize)]) -> Vec<usize> {
    let mut waits = vec![0; nodes];
    let mut out = vec![Vec::new(); nodes];
    for (from, to) in forward.iter().filter(|(from, to)| from != to) {
        waits[*to] += 1;
        out[*from].push(*to);
    }
    let mut layer = vec![0; nodes];
    let mut ready: Vec<usize> = (0..nodes).filter(|node| waits[*node] == 0).collect();
    while let Some(node) = ready.pop() {
        for &to in &out[node] {
            layer[to] = layer[to].max(layer[node] + 1);
            waits[to] -= 1;
            if waits[to] == 0 {
                ready.push(to);
            }
        }
    }
    layer
}

/// Makes the places of an edge between its ends; gives all of them, ends included.
fn chain(places: &mut Vec<Place>, (from, to): (usize, usize)) -> Vec<usize> {
    let mut chain = vec![from];
    for layer in places[from].layer + 1..places[to].layer {
        chain.push(places.len());
        let size = Size { width: 0.0, height: LANE };
        places.push(Place { size, layer, y: 0.0, left: vec![], right: vec![] });
    }
    if from != to {
        chain.push(to);
    }
    for pair in chain.windows(2) {
        places[pair[0]].right.push(pair[1]);
        places[pair[1]].left.push(pair[0]);
    }
    chain
}

/// Orders each column so that few edges cross: every place goes to the mean position of its
/// neighbours on one side, then on the other; the best order that was seen is kept.
fn order(places: &[Place], columns: &mut Vec<Vec<usize>>) {
    let mut position = vec![0; places.len()];
    let number = |column: &[usize], position: &mut Vec<usize>| {
        column.iter().enumerate().for_each(|(at, place)| position[*place] = at);
    };
    columns.iter().for_each(|column| number(column, &mut position));
    let mut best = (crossings(places, columns, &position), columns.clone());
    for sweep in 0..SWEEPS {
        let to_the_right = sweep % 2 == 0;
        for step in 1..columns.len() {
            let at = if to_the_right { step } else { columns.len() - 1 - step };
            let mean = |place: &usize| {
                let Place { left, right, .. } = &places[*place];
                let neighbours = if to_the_right { left } else { right };
                match neighbours.len() {
                    0 => position[*place] as f64,
                    count => neighbours.iter().map(|n| position[*n] as f64).sum::<f64>() / count as f64,
                }
            };
            let mut keyed: Vec<(f64, usize)> =
                columns[at].iter().map(|place| (mean(place), *place)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            columns[at] = keyed.into_iter().map(|(_, place)| place).collect();
            number(&columns[at], &mut position);
        }
        let crossings = crossings(places, columns, &position);
        if crossings < best.0 {
            best = (crossings, columns.clone());
        }
    }
    *columns = best.1;
}

/// How often edges cross: inversions between the orders of their two ends.
fn crossings(places: &[Place], columns: &[Vec<usize>], position: &[usize]) -> usize {
    let mut crossings = 0;
    for column in columns {
        let mut ends = Vec::new();
        for place in column {
            let mut right: Vec<usize> = places[*place].right.iter().map(|end| position[*end]).collect();
            right.sort_unstable();
            ends.extend(right);
        }
        // A Fenwick tree of the ends so far.
        let mut tree = vec![0; ends.iter().max().map_or(0, |most| most + 2)];
        for (before, end) in ends.iter().enumerate() {
            let mut not_above = 0;
            let mut index = end + 1;
            while index > 0 {
                not_above += tree[index];
                index &= index - 1;
            }
            crossings += before - not_above;
            let mut index = end + 1;
            while index < tree.len() {
                tree[index] += 1;
                index += index & index.wrapping_neg();
            }
        }
    }
    crossings
}

/// Sets `y` of every place: near its neighbours, in the order of its column, and clear of the others.
fn set_heights(places: &mut [Place], columns: &[Vec<usize>]) {
    for column in columns {
        pack(places, column, |_| 0.0);
    }
    for sweep in 0..SWEEPS {
        let to_the_right = sweep % 2 == 0;
        for step in 0..columns.len() {
            let at = if to_the_right { step } else { columns.len() - 1 - step };
            let wanted: Vec<f64> = columns[at].iter().map(|place| among_neighbours(places, *place)).collect();
            pack(places, &columns[at], |index| wanted[index]);
        }
    }
    let top = places.iter().map(|place| place.y - place.size.height / 2.0).fold(f64::INFINITY, f64::min);
    places.iter_mut().for_each(|place| place.y -= top);
}

/// The middle of a place's neighbours on both sides.
fn among_neighbours(places: &[Place], place: usize) -> f64 {
    let median = |neighbours: &[usize]| {
        let mut ys: Vec<f64> = neighbours.iter().map(|n| places[*n].y).collect();
        ys.sort_by(f64::total_cmp);
        match ys.len() {
            0 => None,
            count => Some((ys[(count - 1) / 2] + ys[count / 2]) / 2.0),
        }
    };
    match (median(&places[place].left), median(&places[place].right)) {
        (Some(left), Some(right)) => (left + right) / 2.0,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => places[place].y,
    }
}

/// Puts the places of a column as near to `wanted` as their order and their sizes allow, in the sense of
/// least squares. Without the sizes, that is isotonic regression, by pooling adjacent violators.
fn pack(places: &mut [Place], column: &[usize], wanted: impl Fn(usize) -> f64) {
    let mut offsets = Vec::with_capacity(column.len());
    let mut offset = 0.0;
    for (index, place) in column.iter().enumerate() {
        let half = places[*place].size.height / 2.0;
        offset += if index == 0 { 0.0 } else { GAP + half };
        offsets.push(offset);
        offset += half;
    }
    // Sum and number of what was pooled.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (index, offset) in offsets.iter().enumerate() {
        let mut pool = (wanted(index) - offset, 1);
        while let Some(last) = pools.pop_if(|last| last.0 / last.1 as f64 > pool.0 / pool.1 as f64) {
            pool = (pool.0 + last.0, pool.1 + last.1);
        }
        pools.push(pool);
    }
    let levels = pools.iter().flat_map(|(sum, count)| std::iter::repeat_n(sum / *count as f64, *count));
    for ((place, offset), level) in column.iter().zip(&offsets).zip(levels) {
        places[*place].y = level + offset;
    }
}

/// The curves of every edge. The ends of edges are spread over the sides of their boxes, in the order
/// of where they go.
fn routes(
    places: &[Place],
    spans: &[Range<f64>],
    edges: &[(usize, usize)],
    forward: &[(usize, usize)],
    chains: &[Vec<usize>],
) -> Vec<Vec<[Point; 2]>> {
    // By chain: where it leaves its first place and enters its last.
    let mut leaves = vec![0.0; chains.len()];
    let mut enters = vec![0.0; chains.len()];
    let mut right = vec![Vec::new(); places.len()];
    let mut left = vec![Vec::new(); places.len()];
    for (index, chain) in chains.iter().enumerate() {
        if let [first, second, ..] = chain[..] {
            let (last, before) = (chain[chain.len() - 1], chain[chain.len() - 2]);
            right[first].push((places[second].y, index));
            left[last].push((places[before].y, index));
        }
    }
    for (sides, ends) in [(&mut right, &mut leaves), (&mut left, &mut enters)] {
        for (node, side) in sides.iter_mut().enumerate() {
            side.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let place = &places[node];
            for (at, (_, index)) in side.iter().enumerate() {
                let share = (at + 1) as f64 / (side.len() + 1) as f64;
                ends[*index] = place.y + (share - 0.5) * place.size.height;
            }
        }
    }
    let route = |(index, chain): (usize, &Vec<usize>)| {
        let last = chain.len() - 1;
        let mut route: Vec<[Point; 2]> = chain
            .windows(2)
            .enumerate()
            .map(|(at, pair)| {
                let (from, to) = (&places[pair[0]], &places[pair[1]]);
                let start = if at == 0 { leaves[index] } else { from.y };
                let end = if at + 1 == last { enters[index] } else { to.y };
                [Point { x: spans[from.layer].end, y: start }, Point { x: spans[to.layer].start, y: end }]
            })
            .collect();
        if forward[index] != edges[index] {
            route.reverse();
            route.iter_mut().for_each(|pair| pair.reverse());
        }
        route
    };
    chains.iter().enumerate().map(route).collect()
}

#[cfg(test)]
mod tests;
