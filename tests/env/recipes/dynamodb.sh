# DynamoDB Local from Maven, 15 seconds
set -euo pipefail
SRC=$(mktemp -d) && trap 'rm -rf "$SRC"' EXIT
cat >"$SRC/pom.xml" <<'P'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>bed</groupId><artifactId>dynamodb</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>com.amazonaws</groupId><artifactId>DynamoDBLocal</artifactId><version>2.6.1</version></dependency>
  </dependencies>
</project>
P
mvn -B -ntp -f "$SRC/pom.xml" dependency:copy-dependencies -DoutputDirectory="$OUT/lib"
