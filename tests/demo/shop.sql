create table orders (
  id bigint generated always as identity primary key,
  customer text not null,
  amount numeric(12, 2) not null,
  paid boolean,
  placed_at timestamptz not null
);
insert into orders (customer, amount, paid, placed_at)
select 'customer ' || n % 1000, (n * 37 % 100000) / 100.0, nullif(n % 3, 0) = 1, timestamptz '2024-01-01 00:00Z' + n * interval '1 minute'
from generate_series(1, 200000) n;
analyze orders;
