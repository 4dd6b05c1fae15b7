//! In: the pods of an attempt. Out: what they say: ready, live, how they ended, why they do not start.
//! Bound: the pods of one object. Fails: never.

use crds::condition::Exit;
use crds::{Reason, Report};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::labels::CONTAINER;
use crate::observed::ClusterWarning;

/// The pods of a Job.
pub fn pods_of<'a>(pods: &'a [Pod], job: &Job) -> impl Iterator<Item = &'a Pod> + use<'a> {
    let uid = job.metadata.uid.clone();
    pods.iter().filter(move |pod| {
        let owners = pod.metadata.owner_references.iter().flatten();
        uid.is_some() && owners.into_iter().any(|owner| Some(&owner.uid) == uid.as_ref())
    })
}

fn condition_since(pod: &Pod, kind: &str) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|one| one.type_ == kind && one.status == "True")?;
    Some(found.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

/// Since when the pod is Ready.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition_since(pod, "Ready")
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Whether a process of the pod may still be at work.
pub fn is_live(pod: &Pod) -> bool {
    !matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether a process of the pod ever ran. A pod that is deleted or evicted before it started ends as
/// Failed too; its container then has an end, but no start (so kubelet 1.34 reports it).
pub fn has_started(pod: &Pod) -> bool {
    let ran = |container: &ContainerStatus| {
        let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
        ended.is_some_and(|ended| ended.started_at.is_some())
    };
    match phase(pod) {
        "Pending" => false,
        "Failed" => containers(pod).any(ran),
        _ => true,
    }
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

/// Whether the worker of the pod ended with exit code 0.
pub fn has_succeeded(pod: &Pod) -> bool {
    containers(pod).filter(|container| container.name == CONTAINER).any(|container| {
        let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
        ended.is_some_and(|ended| ended.exit_code == 0)
    })
}

/// How a pod's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodEnd {
    /// Its code.
    pub exit: Exit,
    /// What it said.
    pub report: Report,
    /// When.
    pub at: Option<Timestamp>,
}

/// How the pod's process ended, if it ended badly.
pub fn end(pod: &Pod) -> Option<PodEnd> {
    containers(pod).find_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        let exit = Exit::from_code(ended.exit_code);
        if exit == Exit::Done {
            return None;
        }
        let said = ended.message.as_deref().and_then(|text| serde_json::from_str(text.trim()).ok());
        let report = said.unwrap_or_else(|| {
            silent_end(pod, ended.exit_code, ended.reason.as_deref().unwrap_or_default())
        });
        Some(PodEnd { exit, report, at: ended.finished_at.as_ref().map(|time| time.0) })
    })
}

fn silent_end(pod: &Pod, code: i32, reason: &str) -> Report {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if reason == "OOMKilled" {
        return Report::new(
            Reason::PodLost,
            format!("pod {name} was killed because it reached its memory limit"),
            "Raise spec.worker.resources.limits.memory.",
        );
    }
    if condition_since(pod, "DisruptionTarget").is_some() {
        return Report::new(Reason::Stopped, format!("pod {name} was evicted"), "");
    }
    Report::new(
        Reason::PodLost,
        format!("pod {name} exited with code {code} without a termination message"),
        format!("Read the log of the pod: `kubectl logs {name}`."),
    )
}

/// Why the Job's pods do not start; `None` while they may still.
pub fn trouble(pods: &[&Pod], warnings: &[ClusterWarning]) -> Option<Report> {
    if pods.iter().any(|pod| has_started(pod)) {
        return None;
    }
    pods.iter().find_map(|pod| waiting_trouble(pod)).or_else(|| {
        let warning = warnings.iter().find_map(warning_trouble);
        warning.or_else(|| pods.iter().find_map(|pod| unschedulable(pod)))
    })
}

fn waiting_trouble(pod: &Pod) -> Option<Report> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    containers(pod).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let remedy = match reason {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                "Check the operator's worker image and the image pull secrets of the namespace."
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                "Fix what the message names. The pod then starts by itself."
            }
            _ => return None,
        };
        let details = waiting.message.as_deref().unwrap_or_default();
        let message = format!("pod {name} does not start: {reason}: {details}");
        Some(Report::new(Reason::PodNotStarted, shorten(&message), remedy))
    })
}

fn unschedulable(pod: &Pod) -> Option<Report> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found =
        conditions.iter().find(|one| one.type_ == "PodScheduled" && one.status == "False")?;
    let details = found.message.as_deref().unwrap_or_default();
    Some(Report::new(
        Reason::PodNotStarted,
        shorten(&format!("pod {name} cannot be scheduled: {details}")),
        "Add nodes, lower spec.worker.resources or spec.worker.parallelism, or change spec.worker.nodeSelector.",
    ))
}

fn warning_trouble(warning: &ClusterWarning) -> Option<Report> {
    let details = warning.message.as_str();
    let lower = details.to_lowercase();
    match warning.reason.as_str() {
        "FailedMount" if lower.contains("secret") => Some(Report::new(
            Reason::CredentialsMissing,
            shorten(&format!("a pod waits for a Secret: {details}")),
            "Create the Secret in this namespace with the keys that the manifest needs. The pod then starts by itself.",
        )),
        "FailedMount" | "FailedAttachVolume" => Some(Report::new(
            Reason::PodNotStarted,
            shorten(&format!("a pod waits for a volume: {details}")),
            "Create the Secret, ConfigMap or volume that the message names. The pod then starts by itself.",
        )),
        "FailedCreate" => Some(Report::new(
            Reason::PodNotStarted,
            shorten(&format!("no pod can be created: {details}")),
            "Raise the quota of the namespace, or fix what the message names.",
        )),
        _ => None,
    }
}

/// Conditions and events have room for about a thousand letters.
fn shorten(text: &str) -> String {
    const LETTERS_MAX: usize = 700;
    if text.chars().count() <= LETTERS_MAX {
        return text.to_owned();
    }
    text.chars().take(LETTERS_MAX).chain("...".chars()).collect()
}
