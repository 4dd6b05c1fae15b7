//! In: a role and a task. Out: the pod template of its Job: restricted, credentials as files.
//! Bound: none. Fails: never.

use std::collections::BTreeMap;

use crds::extract_job::ExtractJobSpec;
use crds::source::{CaKind, SecretRef};
use crds::task::{
    CA_FILE, CREDENTIALS_DIR, OUTPUT_SECRET_DIR, READY_FILE, TASK_ENV, TERMINATION_FILE,
    TRACKING_SECRET_DIR,
};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, ExecAction,
    KeyToPath, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::attempt::TaskText;
use crate::labels::{CONTAINER, Role};
use crate::settings::Settings;

/// The user of the worker image.
const USER: i64 = 65532;
/// Mode of mounted credentials: owner and group read.
const SECRET_MODE: i32 = 0o440;
/// The worker's binary, which also answers whether the coordinator is ready.
const BINARY: &str = "/usr/local/bin/tidemark";

/// What differs between pods.
#[derive(Debug)]
pub(crate) struct PodPlan<'a> {
    pub(crate) role: Role,
    pub(crate) task_text: &'a TaskText,
    pub(crate) image: &'a str,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) env: Vec<(&'static str, String)>,
}

/// The pod template.
pub(crate) fn pod_template(plan: PodPlan, settings: &Settings) -> PodTemplateSpec {
    let spec = &plan.task_text.task.spec;
    let worker = spec.worker.clone().unwrap_or_default();
    let mut annotations = worker.annotations.unwrap_or_default();
    if plan.role == Role::Coordinator {
        let key = "cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned();
        annotations.insert(key, "false".to_owned());
    }
    let pull_secrets: Vec<LocalObjectReference> = settings
        .worker_pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    let mounts = mounts(spec);
    let service_account =
        worker.service_account_name.unwrap_or_else(|| settings.service_account.clone());
    let pod = PodSpec {
        affinity: worker.affinity,
        automount_service_account_token: Some(false),
        containers: vec![container(&plan, settings, &mounts)],
        enable_service_links: Some(false),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
        node_selector: worker.node_selector,
        priority_class_name: worker.priority_class_name,
        restart_policy: Some("Never".to_owned()),
        scheduler_name: worker.scheduler_name,
        security_context: Some(PodSecurityContext {
            fs_group: Some(USER),
            run_as_group: Some(USER),
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        service_account_name: Some(service_account),
        tolerations: worker.tolerations,
        topology_spread_constraints: worker.topology_spread_constraints,
        volumes: Some(mounts.into_iter().map(|mount| mount.volume).collect()),
        ..PodSpec::default()
    };
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(plan.labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(pod),
    }
}

fn container(plan: &PodPlan, settings: &Settings, mounts: &[Mount]) -> Container {
    let further = settings.worker_env.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let env = further
        .chain(std::iter::once((TASK_ENV, plan.task_text.text.clone())))
        .chain(plan.env.iter().cloned())
        .map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            ..EnvVar::default()
        })
        .collect();
    Container {
        name: CONTAINER.to_owned(),
        image: Some(plan.image.to_owned()),
        image_pull_policy: Some(settings.worker_pull_policy.clone()),
        args: Some(vec![plan.role.command().to_owned()]),
        env: Some(env),
        readiness_probe: (plan.role == Role::Coordinator).then(ready_probe),
        resources: Some(resources(plan, settings)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        termination_message_path: Some(TERMINATION_FILE.to_owned()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(
            mounts
                .iter()
                .map(|mount| VolumeMount {
                    name: mount.volume.name.clone(),
                    mount_path: mount.path.clone(),
                    read_only: mount.read_only.then_some(true),
                    ..VolumeMount::default()
                })
                .collect(),
        ),
        ..Container::default()
    }
}

/// The image has no shell, so the worker itself says whether its ready file is there.
fn ready_probe() -> Probe {
    Probe {
        exec: Some(ExecAction { command: Some(vec![BINARY.to_owned(), "ready".to_owned()]) }),
        period_seconds: Some(1),
        timeout_seconds: Some(5),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

fn resources(plan: &PodPlan, settings: &Settings) -> ResourceRequirements {
    if plan.role == Role::Recover {
        return settings.recover_resources.clone();
    }
    let worker = plan.task_text.task.spec.worker.as_ref();
    worker.and_then(|worker| worker.resources.clone()).unwrap_or_else(|| settings.resources.clone())
}

struct Mount {
    path: String,
    read_only: bool,
    volume: Volume,
}

fn mounts(spec: &ExtractJobSpec) -> Vec<Mount> {
    let secret = |name: &str, path: &str, reference: Option<&SecretRef>| {
        reference.map(|reference| Mount {
            path: path.to_owned(),
            read_only: true,
            volume: secret_volume(name, reference),
        })
    };
    let tracking = spec.tracking.as_ref().and_then(|tracking| tracking.secret_ref.as_ref());
    vec![
        secret("credentials", CREDENTIALS_DIR, spec.source.credentials.secret_ref.as_ref()),
        secret("output", OUTPUT_SECRET_DIR, spec.output.secret_ref.as_ref()),
        secret("tracking", TRACKING_SECRET_DIR, tracking),
        ca_mount(spec),
        Some(scratch("run", parent(READY_FILE), "1Mi")),
        Some(scratch("tmp", "/tmp", "1Gi")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn secret_volume(name: &str, reference: &SecretRef) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(reference.name.clone()),
            default_mode: Some(SECRET_MODE),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn ca_mount(spec: &ExtractJobSpec) -> Option<Mount> {
    let reference = spec.source.tls.as_ref()?.ca_ref.as_ref()?;
    let file = CA_FILE.rsplit('/').next().unwrap_or_default();
    let items = Some(vec![KeyToPath {
        key: reference.key.clone().unwrap_or_else(|| "ca.crt".to_owned()),
        path: file.to_owned(),
        ..KeyToPath::default()
    }]);
    let mut volume = Volume { name: "ca".to_owned(), ..Volume::default() };
    match reference.kind.unwrap_or_default() {
        CaKind::ConfigMap => {
            volume.config_map = Some(ConfigMapVolumeSource {
                name: reference.name.clone(),
                items,
                ..ConfigMapVolumeSource::default()
            });
        }
        CaKind::Secret => {
            volume.secret = Some(SecretVolumeSource {
                secret_name: Some(reference.name.clone()),
                default_mode: Some(SECRET_MODE),
                items,
                ..SecretVolumeSource::default()
            });
        }
    }
    Some(Mount { path: parent(CA_FILE).to_owned(), read_only: true, volume })
}

fn scratch(name: &str, path: &str, size: &str) -> Mount {
    let empty_dir = EmptyDirVolumeSource {
        size_limit: Some(Quantity(size.to_owned())),
        ..EmptyDirVolumeSource::default()
    };
    Mount {
        path: path.to_owned(),
        read_only: false,
        volume: Volume { name: name.to_owned(), empty_dir: Some(empty_dir), ..Volume::default() },
    }
}

fn parent(file: &str) -> &str {
    file.rsplit_once('/').map_or("/", |(folder, _)| folder)
}
