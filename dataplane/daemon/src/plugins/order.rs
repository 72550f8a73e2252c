// SPDX-License-Identifier: Apache-2.0
//! In which order plugins are loaded.

use weft_plugin_host::Library;

use super::PluginsError;

/// Why there is no order.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OrderError {
    /// Each needs the other.
    #[error("plugins '{0}' and '{1}' depend on each other")]
    Cycle(String, String),
    /// What is needed does not come.
    #[error("plugin '{by}' depends on plugin '{needed}', which cannot be loaded: {why}")]
    Missing {
        /// The one that needs it.
        by: String,
        /// The one that is needed.
        needed: String,
        /// Why it cannot be loaded.
        why: String,
    },
}

/// `name` and all that it depends on, what is needed first. `loaded` are there already; `open` opens the others.
pub fn resolve(
    name: &str,
    loaded: impl Fn(&str) -> bool,
    open: impl Fn(&str) -> Result<Library, PluginsError>,
) -> Result<Vec<Library>, PluginsError> {
    resolve_by(name, loaded, open, |library| &library.depends, |library| &library.name)
}

/// Whether what a plugin depends on is there.
pub fn check(library: &Library, loaded: impl Fn(&str) -> bool) -> Result<(), OrderError> {
    match library.depends.iter().find(|needed| !loaded(needed)) {
        None => Ok(()),
        Some(needed) => Err(OrderError::Missing {
            by: library.name.clone(),
            needed: needed.clone(),
            why: "it is not loaded, or was loaded later".to_owned(),
        }),
    }
}

fn resolve_by<T>(
    name: &str,
    loaded: impl Fn(&str) -> bool,
    open: impl Fn(&str) -> Result<T, PluginsError>,
    depends: impl Fn(&T) -> &[String],
    named: impl Fn(&T) -> &str,
) -> Result<Vec<T>, PluginsError> {
    let mut order = Vec::new();
    // Opened, with the place of the dependency that is looked at: each stands on the one that needs it.
    let mut open_ones = vec![(open(name)?, 0)];
    while let Some((top, next)) = open_ones.last_mut() {
        let Some(needed) = depends(top).get(*next).cloned() else {
            let (done, _) = open_ones.pop().expect("the top is there");
            order.push(done);
            continue;
        };
        *next += 1;
        let by = named(top).to_owned();
        if loaded(&needed) || order.iter().any(|done| named(done) == needed) {
            continue;
        }
        if open_ones.iter().any(|(waiting, _)| named(waiting) == needed) {
            return Err(OrderError::Cycle(by, needed).into());
        }
        let opened = open(&needed).map_err(|why| OrderError::Missing { by, needed, why: why.to_string() })?;
        open_ones.push((opened, 0));
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Files = BTreeMap<&'static str, Vec<&'static str>>;

    fn order(files: &Files, name: &str, loaded: &[&str]) -> Result<Vec<String>, String> {
        let open = |name: &str| match files.get(name) {
            Some(depends) => {
                Ok((name.to_owned(), depends.iter().map(|each| (*each).to_owned()).collect::<Vec<_>>()))
            }
            None => Err(PluginsError::NotLoaded(name.to_owned())),
        };
        let order = resolve_by(name, |name| loaded.contains(&name), open, |file| &file.1, |file| &file.0);
        order
            .map(|order| order.into_iter().map(|(name, _)| name).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let files = Files::from([("a", vec!["b", "c"]), ("b", vec!["d"]), ("c", vec!["d"]), ("d", vec![])]);
        assert_eq!(order(&files, "a", &[]).unwrap(), ["d", "b", "c", "a"]);
        assert_eq!(order(&files, "a", &["b"]).unwrap(), ["d", "c", "a"]);
        assert_eq!(order(&files, "d", &[]).unwrap(), ["d"]);
    }

    #[test]
    fn a_cycle_names_both() {
        let files = Files::from([("a", vec!["b"]), ("b", vec!["c"]), ("c", vec!["b"]), ("d", vec!["d"])]);
        assert_eq!(order(&files, "a", &[]).unwrap_err(), "plugins 'c' and 'b' depend on each other");
        assert_eq!(order(&files, "d", &[]).unwrap_err(), "plugins 'd' and 'd' depend on each other");
    }

    #[test]
    fn a_missing_one_is_named_with_the_one_that_needs_it() {
        let files = Files::from([("a", vec!["x"])]);
        let said = order(&files, "a", &[]).unwrap_err();
        assert_eq!(
            said,
            "plugin 'a' depends on plugin 'x', which cannot be loaded: plugin 'x' is not loaded"
        );
    }
}
