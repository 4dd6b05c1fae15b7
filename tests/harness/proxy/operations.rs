//! Which operation a request is.

use hyper::http::request;

use super::Speaks;

/// The operation by method and query (S3), or by the header that names it (DynamoDB).
pub(super) fn operation(speaks: Speaks, parts: &request::Parts) -> String {
    match speaks {
        Speaks::S3 => of_s3(parts),
        Speaks::DynamoDb => {
            let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
            target.and_then(|target| target.rsplit('.').next()).unwrap_or("unknown").to_owned()
        }
        Speaks::Kubernetes(_) => of_kubernetes(parts),
    }
}

/// `PATCH extractjobs/status`: verb, resource, sub-resource; the verb of a watch is `WATCH`.
fn of_kubernetes(parts: &request::Parts) -> String {
    let mut path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    path.drain(..path.len().min(if path.first() == Some(&"apis") { 3 } else { 2 }));
    if path.first() == Some(&"namespaces") && path.len() > 2 {
        path.drain(..2);
    }
    let watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
    let verb = if watch { "WATCH" } else { parts.method.as_str() };
    let resource = path.first().copied().unwrap_or("unknown");
    match path.get(2) {
        Some(sub) => format!("{verb} {resource}/{sub}"),
        None => format!("{verb} {resource}"),
    }
}

fn of_s3(parts: &request::Parts) -> String {
    let query = parts.uri.query().unwrap_or_default();
    let has = |name: &str| {
        query.split('&').any(|pair| pair.split('=').next().is_some_and(|key| key == name))
    };
    let key = parts.uri.path().trim_start_matches('/').contains('/');
    let name = match parts.method.as_str() {
        "PUT" if has("partNumber") => "UploadPart",
        "PUT" => "PutObject",
        "POST" if has("uploads") => "CreateMultipartUpload",
        "POST" if has("uploadId") => "CompleteMultipartUpload",
        "POST" => "DeleteObjects",
        "DELETE" if has("uploadId") => "AbortMultipartUpload",
        "DELETE" => "DeleteObject",
        "HEAD" if key => "HeadObject",
        "HEAD" => "HeadBucket",
        "GET" if has("uploadId") => "ListParts",
        "GET" if has("uploads") => "ListMultipartUploads",
        "GET" if has("list-type") => "ListObjectsV2",
        "GET" if has("retention") => "GetObjectRetention",
        "GET" if has("legal-hold") => "GetObjectLegalHold",
        "GET" => "GetObject",
        _ => "unknown",
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn requests_of_the_api_server_are_named_by_verb_and_resource() {
        let api = Speaks::Kubernetes(([127, 0, 0, 1], 1).into());
        for (method, uri, want) in [
            (
                "GET",
                "/apis/tidemark.dev/v1alpha1/namespaces/a/extractjobs?limit=5",
                "GET extractjobs",
            ),
            ("GET", "/api/v1/namespaces/a/pods?watch=true&x=y", "WATCH pods"),
            ("POST", "/apis/batch/v1/namespaces/a/jobs", "POST jobs"),
            ("PATCH", "/apis/t/v1/namespaces/a/extractjobs/b/status", "PATCH extractjobs/status"),
            ("GET", "/api/v1/namespaces/a", "GET namespaces"),
        ] {
            let request =
                Request::builder().method(method).uri(uri).body(()).map(Request::into_parts);
            let named = request.map(|(parts, ())| operation(api, &parts));
            assert_eq!(named.ok().as_deref(), Some(want));
        }
    }
}
