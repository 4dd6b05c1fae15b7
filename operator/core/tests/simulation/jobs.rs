//! Jobs and pods of the simulation: what makes them, and how they end.

use super::*;

impl Simulation {
    pub(super) fn create(&mut self, job: &Job) {
        let name = job.metadata.name.clone().expect("name");
        if self.named(&name).is_some() {
            return;
        }
        let mut job = job.clone();
        job.metadata.uid = Some(format!("uid-of-{name}-{}", self.made.len()));
        job.metadata.creation_timestamp = Some(Time(self.now));
        job.status = Some(JobStatus { start_time: Some(Time(self.now)), ..JobStatus::default() });
        self.made.push(name);
        self.jobs.push(job);
    }

    pub(crate) fn delete(&mut self, name: &str) {
        let Some(at) = self.jobs.iter().position(|job| named(job, name)) else {
            return;
        };
        let uid = self.jobs.remove(at).metadata.uid;
        self.pods.retain(|pod| pod_owner(pod) != uid.as_deref());
    }

    pub(crate) fn named(&mut self, name: &str) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| named(job, name))
    }

    pub(super) fn annotate(&mut self, name: &str, key: &str, text: String) {
        if let Some(job) = self.named(name) {
            job.metadata.annotations.get_or_insert_default().insert(key.to_owned(), text);
        }
    }

    /// The Job of the last attempt in this role: 0 coordinator, 1 extract, 2 newest recovery.
    pub(crate) fn last(&self, role: usize) -> Option<Job> {
        let attempts = attempts(&self.jobs, UID);
        let last = attempts.last()?;
        match role {
            0 => last.coordinator.cloned(),
            1 => last.extract.cloned(),
            _ => last.recoveries.last().map(|(_, job)| (*job).clone()),
        }
    }

    /// Adds a pod to a Job, with this part of a pod's status.
    pub(crate) fn pod(&mut self, job: &Job, status: serde_json::Value) {
        let owner = OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: job.metadata.name.clone().expect("name"),
            uid: job.metadata.uid.clone().expect("uid"),
            controller: Some(true),
            ..OwnerReference::default()
        };
        let mut pod =
            Pod { status: serde_json::from_value(status).expect("pod status"), ..Pod::default() };
        pod.metadata.name = job.metadata.name.as_ref().map(|name| format!("{name}-pod"));
        pod.metadata.uid = Some(format!("pod-{}", self.pods.len()));
        pod.metadata.labels.clone_from(&job.metadata.labels);
        pod.metadata.owner_references = Some(vec![owner]);
        self.pods.retain(|old| pod_owner(old) != job.metadata.uid.as_deref());
        self.pods.push(pod);
    }

    /// A pod of the Job runs, and is Ready.
    pub(crate) fn ready_pod(&mut self, job: &Job) {
        let ready = json!({
            "phase": "Running",
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": Time(self.now) }],
        });
        self.pod(job, ready);
    }

    pub(crate) fn finish(&mut self, job: &Job, kind: &str, reason: &str) {
        let now = self.now;
        let name = job.metadata.name.clone().expect("name");
        let Some(found) = self.named(&name) else {
            return;
        };
        let status = found.status.get_or_insert_default();
        status.conditions.get_or_insert_default().push(JobCondition {
            type_: kind.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            last_transition_time: Some(Time(now)),
            ..JobCondition::default()
        });
        if kind == "Complete" {
            status.succeeded = found.spec.as_ref().and_then(|spec| spec.completions).or(Some(1));
        }
    }

    /// The Job's pod ends with this code and report, and the Job fails.
    pub(crate) fn fails(&mut self, job: &Job, exit: Exit, report: Option<&Report>) {
        let message = report.map(|report| serde_json::to_string(report).expect("report"));
        let terminated =
            json!({ "exitCode": exit.code(), "message": message, "startedAt": Time(self.now) });
        let ended = json!({
            "phase": "Failed",
            "containerStatuses": [{
                "name": "tidemark", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "terminated": terminated },
            }],
        });
        self.pod(job, ended);
        self.finish(job, "Failed", "BackoffLimitExceeded");
    }

    /// The process of the Job's pod ends with exit code 0.
    pub(crate) fn exits_with_code_zero(&mut self, job: &Job) {
        let succeeded = json!({
            "phase": "Succeeded",
            "containerStatuses": [{
                "name": "tidemark", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "terminated": { "exitCode": 0, "startedAt": Time(self.now) } },
            }],
        });
        self.pod(job, succeeded);
    }

    /// Stopped Jobs come to their end.
    pub(crate) fn job_controller(&mut self) {
        let stopped = |job: &&Job| {
            let deadline = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
            deadline == Some(1) && !is_finished(job)
        };
        for job in self.jobs.iter().filter(stopped).cloned().collect::<Vec<_>>() {
            self.fails(&job, Exit::Stopped, None);
            self.finish(&job, "Failed", "DeadlineExceeded");
        }
    }
}
