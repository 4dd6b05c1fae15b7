//! Pause points: tests stop the process at a named point, check or kill it, and let it continue.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;

/// Environment variable `<point>[@<attempt>][=<file>]`: at that point (of that attempt) the process
/// makes the file and waits until it is gone; without a file it waits until it is killed.
pub const PAUSE_ENV: &str = "TIDEMARK_TEST_PAUSE";

/// Called between the steps with the name of the point, so that tests can do something exactly there.
pub type PausePoints<'a> = &'a (dyn Fn(&'static str) -> BoxFuture<'static, ()> + Send + Sync);

/// A pause point that was asked for, if any.
#[derive(Debug, Clone, Default)]
pub struct Pause {
    point: Option<String>,
    file: Option<PathBuf>,
    lost: Arc<AtomicBool>,
}

impl Pause {
    /// Reads what was asked for; a pause for another attempt is none.
    pub fn parse(text: Option<&str>, attempt: u32) -> Self {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Self::default() };
        let (point, file) = match text.split_once('=') {
            Some((point, file)) => (point, Some(PathBuf::from(file))),
            None => (text, None),
        };
        let (point, only) = match point.split_once('@') {
            Some((point, attempt)) => (point, attempt.parse().ok()),
            None => (point, None),
        };
        if only.is_some_and(|only: u32| only != attempt) {
            return Self::default();
        }
        Self { point: Some(point.to_owned()), file, lost: Arc::default() }
    }

    /// The same as a function of the point.
    pub fn points(&self) -> impl Fn(&'static str) -> BoxFuture<'static, ()> + Send + Sync + use<> {
        let pause = self.clone();
        move |point| {
            let pause = pause.clone();
            Box::pin(async move { pause.at(point).await })
        }
    }

    /// Whether the reply of a successful write is to be lost: once, at the point
    /// `lose-<effect>`.
    pub fn loses(&self, point: &str) -> bool {
        let loses =
            self.point.as_deref() == Some(point) && !self.lost.swap(true, Ordering::Relaxed);
        if loses {
            tracing::warn!(point, "a reply is lost for a test");
        }
        loses
    }

    /// Waits here, if this is the point.
    pub async fn at(&self, point: &str) {
        if self.point.as_deref() != Some(point) {
            return;
        }
        tracing::warn!(point, "paused for a test");
        if let Some(file) = &self.file {
            if std::fs::write(file, point).is_err() {
                return;
            }
            while file.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_may_name_attempt_and_file() {
        let pause = Pause::parse(Some("after-pin@2=/tmp/x"), 2);
        assert_eq!(pause.point.as_deref(), Some("after-pin"));
        assert_eq!(pause.file, Some(PathBuf::from("/tmp/x")));
        assert_eq!(Pause::parse(Some("after-pin@2"), 1).point, None);
    }
}
