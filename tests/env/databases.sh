# The releases of Postgres, MySQL and MariaDB that a test environment can start. Sourced by the scripts that start one.

# postgres_bin VERSION FOLDER: prints where the programs of that release are. Another release than the installed one is
# copied into FOLDER: the cache lies in a home folder, which is closed to the server's user.
postgres_bin() {
  [ ! -e "/usr/lib/postgresql/$1/bin" ] || { echo "/usr/lib/postgresql/$1/bin"; return; }
  if [ ! -e "$2/bin" ]; then
    [ -e "$(cached postgres)/$1" ] || die "there is no Postgres $1 here: 14, 16, 17, 18, or the installed $(installed_postgres)"
    cp -r "$(cached postgres)/$1" "$2" && chown -R postgres:postgres "$2"
  fi
  echo "$2/bin"
}

# mysql_program VERSION: sets MYSQLD to the program of that release, with the options that find its files. A release that
# comes with a C library of its own is started by that library's loader.
mysql_program() {
  local root lib share
  root=$(cached mysql)/$1 lib=$(cached mysql)/$1/usr/lib/x86_64-linux-gnu
  case $1 in
  mariadb-10.11) MYSQLD=(mariadbd --no-defaults) ;;
  mariadb-11.8)
    share=$root/usr/share/mariadb
    MYSQLD=("$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$root/usr/sbin/mariadbd" --no-defaults --basedir="$root/usr"
      --lc-messages-dir="$share" --character-sets-dir="$share/charsets" --plugin-dir="$root/usr/lib/mysql/plugin")
    ;;
  mysql-8.0) MYSQLD=("$root/bin/mysqld" --no-defaults --basedir="$root" --lc-messages-dir="$root/share" --mysqlx=OFF) ;;
  mysql-9.7)
    share=$root/usr/share/mysql
    MYSQLD=(env OPENSSL_CONF=/dev/null OPENSSL_MODULES="$lib/ossl-modules"
      "$lib/ld-linux-x86-64.so.2" --library-path "$lib:$lib/mysql/private" "$root/usr/sbin/mysqld" --no-defaults --mysqlx=OFF
      --basedir="$root/usr" --lc-messages-dir="$share" --character-sets-dir="$share/charsets" --plugin-dir="$root/usr/lib/mysql/plugin")
    ;;
  *) die "there is no server $1 here: mariadb-10.11, mariadb-11.8, mysql-8.0, mysql-9.7" ;;
  esac
}

# mysql_initialize VERSION FOLDER: makes the files of a server without accounts but for root@localhost, and the SQL that
# makes the others at its start.
mysql_initialize() {
  local share
  mkdir -p "$2"
  case $1 in
  mariadb-10.11)
    mariadb-install-db --no-defaults --user=root --datadir="$2/data" --auth-root-authentication-method=normal --skip-test-db
    ;;
  mariadb-11.8)
    share=$(cached mysql)/$1/usr/share/mariadb
    mkdir -p "$2/data"
    {
      printf '%s\n' 'set @auth_root_socket=NULL;' 'set @skip_auth_anonymous=1;' "set @current_hostname='localhost';" \
        'create database if not exists mysql;' 'use mysql;'
      cat "$share"/{mariadb_system_tables,mariadb_performance_tables,mariadb_system_tables_data,fill_help_tables}.sql
    } | "${MYSQLD[@]}" --user=root --bootstrap --datadir="$2/data" --log-warnings=0 --enforce-storage-engine=
    ;;
  *) "${MYSQLD[@]}" --user=root --initialize-insecure --datadir="$2/data" ;;
  esac
  # Over TCP only with TLS, where a client of today can have it of the server: a product that leaves it out must fail
  # here. An account by any address, none without a name.
  {
    case $1 in mariadb-*) printf '%s\n' "delete from mysql.global_priv where User = '' or User = 'root';" 'flush privileges;' ;;
    *) echo 'drop user root@localhost;' ;; esac
    local how="by 'secret'" tls=' require ssl'
    [ "$1" != mysql-8.0 ] || { how="with mysql_native_password by 'secret'" tls=''; }
    printf '%s\n' "create user root@localhost identified $how;" 'grant all on *.* to root@localhost with grant option;' \
      "create user root@'%' identified $how$tls;" "grant all on *.* to root@'%' with grant option;"
  } >"$2/init.sql"
}

# mysql_options VERSION FOLDER PORT: sets MYSQLD to the whole command that starts it.
mysql_options() {
  MYSQLD+=(--user=root --datadir="$2/data" --init-file="$2/init.sql" --bind-address=127.0.0.1,$IP --port="$3"
    --socket="$2/socket" --skip-name-resolve --ssl-ca="$PKI/ca.crt" --ssl-cert="$PKI/mariadb.crt" --ssl-key="$PKI/mariadb.key"
    --log-bin="$2/data/binlog" --server-id=1 --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=${DATABASE_MIB:-64}M
    --max-connections=300 --character-set-server=utf8mb4)
  case $1 in
  # the tables of numbers of some tests are recursive queries there; the plugin for passwords without TLS went with 9.0
  mysql-8.0) MYSQLD+=(--pid-file="$2/pid" --default-authentication-plugin=mysql_native_password --secure-file-priv=
    --cte-max-recursion-depth=1000000) ;;
  mysql-*) MYSQLD+=(--pid-file="$2/pid" --secure-file-priv= --cte-max-recursion-depth=1000000) ;;
  esac
}

# Whether it takes clients.
mysql_answers() { # PORT VERSION
  local tls=(--ssl-ca="$PKI/ca.crt"); [ "$2" != mysql-8.0 ] || tls=(--skip-ssl)
  mariadb --no-defaults -h 127.0.0.1 -P "$1" -u root -psecret "${tls[@]}" -NBe 'select 1'
}
